"""The folder that an export writes: claimed without overwriting anyone's work, filled one complete file at a time.

`config.json` comes first and says what is exported, then the shards, and `manifest.jsonl` last: where it is, the
export is complete. Each file appears by a rename, so that at no time is there half a file under its final name.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zoo.core.errors import CannotWriteError

CONFIG = "config.json"
MANIFEST = "manifest.jsonl"

_OWN_FILE = re.compile(r"features-\d{5,}\.safetensors|config\.json|manifest\.jsonl")
_LEFTOVER = re.compile(rf"\.({_OWN_FILE.pattern})\.[0-9a-f]{{16}}\.tmp")
_FORCE = "Give --force to replace it, or choose another folder."


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
        text = json.dumps(config, indent=2) + "\n"
        with _as_write_error(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            names = sorted(os.listdir(self.path))
            for name in filter(_LEFTOVER.fullmatch, names):
                (self.path / name).unlink()
            if force:
                self._remove_export(names)
            else:
                self._refuse_other_content(names, text)
        with self.new_file(CONFIG) as write:
            write(text.encode())

    def _remove_export(self, names: list[str]) -> None:
        # The manifest goes first: without it nobody takes what is left for a complete export.
        for name in sorted(filter(_OWN_FILE.fullmatch, names), key=lambda name: name != MANIFEST):
            (self.path / name).unlink()

    def _refuse_other_content(self, names: list[str], config: str) -> None:
        visible = [name for name in names if not name.startswith(".")]
        foreign = [name for name in visible if not _OWN_FILE.fullmatch(name)]
        if foreign:
            raise CannotWriteError(
                f"The folder {self.path} holds other files ({foreign[0]!r}).", hint=_FORCE, path=str(self.path)
            )
        if visible and (CONFIG not in visible or (self.path / CONFIG).read_bytes() != config.encode()):
            raise CannotWriteError(f"The folder {self.path} holds another export.", hint=_FORCE, path=str(self.path))

    @contextmanager
    def new_file(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Yields `write(data)` for a file that takes its name when the block ends well, and is gone when it does not.

        Raises CannotWriteError where the disk refuses, or a file of that name has other content.
        """
        target = self.path / name
        pending = self.path / f".{name}.{secrets.token_hex(8)}.tmp"
        with _as_write_error(target):
            file = open(pending, "xb")  # noqa: SIM115 - the block in between may raise an OSError that is not ours

        def write(data: bytes) -> None:
            with _as_write_error(target):
                file.write(data)

        try:
            yield write
            with _as_write_error(target):
                file.flush()
                os.fsync(file.fileno())
                self._publish(pending, target)
        finally:
            with suppress(OSError):
                file.close()
            with suppress(FileNotFoundError):
                pending.unlink()

    def _publish(self, pending: Path, target: Path) -> None:
        if os.path.lexists(target):
            if target.is_file() and not target.is_symlink() and filecmp.cmp(pending, target, shallow=False):
                return
            raise CannotWriteError(f"{target} exists with other content.", hint=_FORCE, path=str(target))
        pending.rename(target)
        self.changed = True
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _as_write_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWriteError(
            f"{path} could not be written: {error.strerror or error}.", hint="Choose another folder.", path=str(path)
        ) from error
