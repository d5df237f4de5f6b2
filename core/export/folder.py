"""The output folder of an export: it is claimed without overwriting other files, and filled file by file.

    config.json           the plan: model, weights, levels, preprocessing, inputs, and a fingerprint of it all
    features-00000.*      the features of a shard (with some formats several files, or chunks of an array)
    manifest-00000.jsonl  its part of the manifest: a line about the shard, then one per input
    manifest.jsonl        one line per input, in order; there when every shard is

Every file is written completely and then renamed into place. A shard's part of the manifest follows its data and has
their sizes and checksums: the shard is done if the part exists and the data match it. So the next run completes a run
that was killed at any point. Processes that share a folder need no locks: at worst two of them write the same bytes
twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from zoo.core.errors import CannotWriteError, InvalidInputError, UsageError
from zoo.core.export.identity import has_changed, recorded_stamp, sha256_of_stamps, stamp_of
from zoo.core.export.plan import ExportPlan, differences
from zoo.core.export.shard_rows import ShardRows
from zoo.core.export.writers import writer_of
from zoo.core.export.writers.shard_writer import WriteFile
from zoo.core.files.atomic_output import atomic_output, cannot_write
from zoo.core.files.file_digest import sha256_of
from zoo.core.files.json_file import read_json_object
from zoo.core.images.inputs.exported_files import CONFIG, MANIFEST, OWN_NAME

_HINT = "Pass --force to replace it, or choose another folder."
_MAX_LINE = 1 << 20
_COPY_CHUNK = 1 << 20


class ShardRecord(NamedTuple):
    """The first line of a part: the content of a finished shard. `files` are (name, bytes, sha256).

    `stamps_sha256` shows whether the inputs are still those that were read; it is empty in parts of earlier versions.
    """

    shard: int
    fingerprint: str
    images: int
    failed: int
    nonfinite_images: int
    nonfinite_values: int
    files: tuple[tuple[str, int, str], ...]
    lines_sha256: str
    unscaled_images: int = 0
    skipped: int = 0
    bright_images: int = 0
    largest: float = 0.0
    stamps_sha256: str = ""


class FeatureFolder:
    """An output folder that holds one export.

    Args:
        path: created if it does not exist.
        plan: what is exported.
        force: replace an export with a different plan, and recompute every shard of this one. Files that do not belong
            to an export are left alone.

    `changed` says whether anything was written.

    Raises:
        UsageError: the folder holds an export with a different plan, or the plan's format cannot hold its features.
        CannotWriteError: the folder cannot be created or read, or holds something else.
    """

    def __init__(self, path: str | Path, plan: ExportPlan, *, force: bool = False) -> None:
        self.path = Path(path)
        self.plan = plan
        self.writer = writer_of(plan)
        self.changed = False
        self._force = force
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with _locked(self.path):
                self._claim()
        except OSError as error:
            raise cannot_write(self.path, error) from error

    # ------------------------------------------------------------ claiming

    def _claim(self) -> None:
        found = self._found_config()
        if found != self.plan.config:
            if not self._force:
                self._refuse(found)
            self._remove_export()
        # Write the config first, so that the files of a killed run are recognised. Each write also removes the
        # temporary files of killed runs from its folder; those of active runs are locked and stay.
        self._write(CONFIG, [_json(self.plan.config, indent=2)])
        for name, content in self.writer.layout().items():
            self._write(name, [content])

    def _found_config(self) -> dict[str, Any] | None:
        if not os.path.lexists(self.path / CONFIG):
            return None
        try:
            return read_json_object(self.path / CONFIG)
        except InvalidInputError:
            return {}

    def _refuse(self, found: Mapping[str, Any] | None) -> None:
        if found is None:
            names = sorted(name for name in os.listdir(self.path) if not name.startswith("."))
            if names:
                raise CannotWriteError(
                    f"The folder {self.path} holds other files ({names[0]!r}).", hint=_HINT, path=str(self.path)
                )
        elif "schema_version" not in found:
            raise CannotWriteError(
                f"{self.path / CONFIG} does not describe an export.", hint=_HINT, path=str(self.path / CONFIG)
            )
        else:
            plans = f"plan {str(found.get('fingerprint'))[:12]} there and {self.plan.fingerprint[:12]} here"
            raise UsageError(
                f"The folder {self.path} holds another export: {differences(found, self.plan.config)} ({plans}).",
                hint=_HINT,
                path=str(self.path),
            )

    def _remove_export(self) -> None:
        # Remove the manifest first: without it, the rest does not look like a complete export. The config stays until
        # it is replaced: without it, the rest would not be recognised.
        names = [name for name in os.listdir(self.path) if OWN_NAME.fullmatch(name) and name != CONFIG]
        for name in sorted(names, key=lambda name: (not name.startswith("manifest"), name != MANIFEST)):
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    # ------------------------------------------------------------ shards

    def is_done(self, shard: int, *, verify: bool = True, retry_failed: bool = False) -> bool:
        """Whether a shard need not be computed: its part exists and its data match the part.

        Args:
            shard: its number.
            verify: compare checksums; otherwise only sizes.
            retry_failed: count a shard with unreadable images as not done.
        """
        record = self.record(shard)
        if self._force or record is None or (retry_failed and record.failed):
            return False
        expected = list(self.writer.files(shard)) if record.images else []
        if [name for name, _, _ in record.files] != expected:  # names are compared, never used
            return False
        if verify and _digest_of_lines(self._part(shard)) != record.lines_sha256:
            return False
        found = zip(expected, record.files, strict=True)
        return all(_matches(self.path / name, size, digest if verify else "") for name, (_, size, digest) in found)

    def reopen(self) -> None:
        """Remove the complete manifest, since shards are about to be written."""
        with suppress(FileNotFoundError):
            os.unlink(self.path / MANIFEST)

    def publish(self, shard: int, rows: ShardRows, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write a shard's data, then its part of the manifest.

        Raises CannotWriteError, also if the folder was given to a different plan meanwhile.
        """
        if self._found_config() != self.plan.config:
            raise CannotWriteError(
                f"Another run has replaced the export in {self.path}.", hint="Run one at a time.", path=str(self.path)
            )
        files = [self._write_data(name, write, rows) for name, write in self.writer.files(shard).items()]
        text = [_json(line) for line in lines]
        nonfinite = [line["nonfinite"] for line in lines if "nonfinite" in line]
        largest = [line["largest"] for line in lines if "largest" in line]
        record = ShardRecord(
            shard=shard,
            fingerprint=self.plan.fingerprint,
            images=len(rows),
            failed=sum(line["status"] == "error" for line in lines),
            nonfinite_images=len(nonfinite),
            nonfinite_values=sum(nonfinite),
            files=tuple(file for file in files if file is not None),
            lines_sha256=hashlib.sha256(b"".join(text)).hexdigest(),
            unscaled_images=sum(line.get("scaled") is False for line in lines),
            skipped=sum(line["status"] == "skipped" for line in lines),
            bright_images=len(largest),
            largest=max(largest, default=0.0),
            stamps_sha256=sha256_of_stamps(map(recorded_stamp, lines)),
        )
        self._write(self._part(shard).name, [_json(record._asdict()), *text])

    def _write_data(self, name: str, write: WriteFile, rows: ShardRows) -> tuple[str, int, str] | None:
        path = self.path / name
        if not rows:
            # The file is from a run that could read some of the images.
            with suppress(FileNotFoundError):
                path.unlink()
            return None
        # An existing file is damaged, or from a run that was killed before it wrote the part.
        with atomic_output(path, force=True) as file:
            write(file, rows)
            written = name, os.fstat(file.fd).st_size, sha256_of(file.fd)
        self.changed |= not file.unchanged
        return written

    def record(self, shard: int) -> ShardRecord | None:
        """The record in a shard's part; None if there is none for this plan."""
        try:
            with self._part(shard).open("rb") as part:
                record = ShardRecord(**json.loads(part.readline(_MAX_LINE)))
            record = record._replace(files=tuple((str(name), int(size), str(sha)) for name, size, sha in record.files))
        except (OSError, ValueError, TypeError):
            return None
        return record if (record.shard, record.fingerprint) == (shard, self.plan.fingerprint) else None

    def failures(self, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The manifest's lines about images that could not be read."""
        for shard in shards:
            record = self.record(shard)
            if record is not None and record.failed:
                yield from (line for line in self._lines(shard) if line["status"] == "error")

    def changed_inputs(self, shard: int, *, by_content: bool = False) -> list[str]:
        """The ids of a finished shard's inputs that have changed since they were read.

        Args:
            shard: its number.
            by_content: compare digests if the manifest has them; otherwise size and time of last change.
        """
        record = self.record(shard)
        if record is None or not record.stamps_sha256:
            return []
        items = [self.plan.inputs[position] for position in self.plan.positions(shard)]
        if not by_content and sha256_of_stamps(map(stamp_of, items)) == record.stamps_sha256:
            return []
        lines = zip(items, self._lines(shard), strict=False)
        return [item.id for item, line in lines if has_changed(item, line, by_content=by_content)]

    def _lines(self, shard: int) -> Iterator[dict[str, Any]]:
        """The lines about a finished shard's inputs."""
        with self._part(shard).open("rb") as part:
            part.readline()
            yield from map(json.loads, part)

    def _part(self, shard: int) -> Path:
        return self.path / f"manifest-{shard:05d}.jsonl"

    # ------------------------------------------------------------ the complete manifest

    def finish(self) -> bool:
        """Write `manifest.jsonl` if the shards of all processes are done; return whether they are."""
        done = self._done()
        while done:
            self._write(MANIFEST, self.manifest_lines())
            # Another process may have replaced a part while its old lines were copied.
            before, done = done, self._done()
            if done == before:
                return True
        return False

    def _done(self) -> str:
        """A digest of the parts of all shards; empty if one is missing."""
        digest = hashlib.sha256()
        for shard in range(self.plan.num_shards):
            record = self.record(shard)
            if record is None:
                return ""
            digest.update(record.lines_sha256.encode())
        return digest.hexdigest()

    def manifest_lines(self) -> Iterator[bytes]:
        """The lines of all shards' parts in order, in pieces of any length."""
        for shard in range(self.plan.num_shards):
            with self._part(shard).open("rb") as part:
                part.readline()
                yield from iter(lambda part=part: part.read(_COPY_CHUNK), b"")  # type: ignore[misc]

    def _write(self, name: str, chunks: Iterable[bytes]) -> None:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        with atomic_output(path, force=True) as file:
            for chunk in chunks:
                file.write(chunk)
        self.changed |= not file.unchanged


def _json(document: Mapping[str, Any], indent: int | None = None) -> bytes:
    return (json.dumps(document, indent=indent) + "\n").encode()


def _digest_of_lines(part: Path) -> str:
    digest = hashlib.sha256()
    try:
        with part.open("rb") as file:
            file.readline()
            while chunk := file.read(_COPY_CHUNK):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def _matches(path: Path, size: int, sha256: str) -> bool:
    """Whether a file has this size and, if given, this checksum."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == size and sha256 in ("", sha256_of(file.fileno()))
    except OSError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let other processes wait while one claims a folder: one of them may be about to remove its content."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
