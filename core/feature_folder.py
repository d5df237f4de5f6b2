"""The folder that an export writes: claimed without overwriting anyone's work, filled one complete file at a time.

`config.json` comes first and says what is exported, then the shards, and `manifest.jsonl` last: where it is, the
export is complete.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from zoo.core.atomic_output import atomic_output, cannot_write
from zoo.core.errors import CannotWriteError
from zoo.core.safetensors_writer import write_safetensors
from zoo.core.stored_tensor import StoredTensor

CONFIG = "config.json"
MANIFEST = "manifest.jsonl"

_OWN_FILE = re.compile(r"features-\d{5,}\.safetensors|config\.json|manifest\.jsonl")
_HINT = "Pass --force to replace it, or choose another folder."
_COPY_CHUNK = 1 << 20


def shard_name(number: int) -> str:
    """File name of a shard, counted from 0."""
    return f"features-{number:05d}.safetensors"


class FeatureFolder:
    """An output folder that holds one export.

    Args:
        path: made if it is not there.
        config: what determines the content; written as `config.json`.
        force: replace an earlier export. Files that are no part of one are left alone.

    Raises:
        CannotWriteError: the folder cannot be made or read, or holds something else than an export of this very config.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any], *, force: bool = False) -> None:
        self.path = Path(path)
        self.changed = False
        content = (json.dumps(config, indent=2) + "\n").encode()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = sorted(os.listdir(self.path))
            if force:
                self._remove_export(names)
            else:
                self._refuse_other_content(names, content)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._write(CONFIG, [content])

    def _remove_export(self, names: list[str]) -> None:
        # The manifest goes first: without it nobody takes what is left for a complete export.
        for name in sorted(filter(_OWN_FILE.fullmatch, names), key=lambda name: name != MANIFEST):
            (self.path / name).unlink()

    def _refuse_other_content(self, names: list[str], config: bytes) -> None:
        visible = [name for name in names if not name.startswith(".")]
        foreign = [name for name in visible if not _OWN_FILE.fullmatch(name)]
        if foreign:
            message = f"The folder {self.path} holds other files ({foreign[0]!r})."
            raise CannotWriteError(message, hint=_HINT, path=str(self.path))
        if visible and (CONFIG not in visible or (self.path / CONFIG).read_bytes() != config):
            raise CannotWriteError(f"The folder {self.path} holds another export.", hint=_HINT, path=str(self.path))

    def write_shard(self, name: str, tensors: Iterable[StoredTensor]) -> None:
        """Write one safetensors file. Raises CannotWriteError; so it does where a file of that name is different."""
        with atomic_output(self.path / name) as file:
            write_safetensors(file, tensors, {"format": "pt"})
        self.changed |= not file.unchanged

    @contextmanager
    def manifest(self) -> Iterator[ManifestLines]:
        """Collects lines, and writes them as `manifest.jsonl` when the block ends without an error."""
        # Without a name, so that nothing is left of it however the process ends.
        with TemporaryFile(dir=self.path) as spool:
            yield ManifestLines(spool, self.path / MANIFEST)
            spool.seek(0)
            self._write(MANIFEST, iter(lambda: spool.read(_COPY_CHUNK), b""))

    def _write(self, name: str, chunks: Iterable[bytes]) -> None:
        with atomic_output(self.path / name) as file:
            for chunk in chunks:
                file.write(chunk)
        self.changed |= not file.unchanged


class ManifestLines:
    """The lines of a manifest that is not published yet."""

    def __init__(self, spool: IO[bytes], path: Path) -> None:
        self._spool = spool
        self._path = path

    def append(self, line: Mapping[str, Any]) -> None:
        try:
            self._spool.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise cannot_write(self._path, error) from error
