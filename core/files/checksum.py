"""Check a file against its published sha256, once.

The result is remembered with a stamp: real path, inode, size, modification time and change time. No program can set the
change time back, so a file with the same stamp has the same content, whatever its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from zoo.core.errors import InvalidInputError
from zoo.core.files.file_digest import hash_in_name as hash_in_name
from zoo.core.files.file_digest import sha256_of
from zoo.core.files.user_folders import existing, state_folder

_CHUNK = 1 << 20
_TICK = 20_000_000
"""Nanoseconds. File times come from the kernel's last tick; there are 100 ticks a second or more."""
_COARSE_TICK = 2_000_000_000
"""Nanoseconds, for file systems that store whole seconds."""


class DamagedFileError(InvalidInputError):
    """A file does not have its published content."""


def verify(path: Path, expected: str, *, advice: str, fresh: bool = False) -> str:
    """Check that the sha256 of a file begins with `expected`; return the whole digest in lower-case hex.

    A file whose stamp is unchanged since the last check is not read again unless `fresh` is set: a failing disk can
    change bytes without changing the stamp.

    Raises:
        DamagedFileError: the digest differs; `advice` says what to do about it.
    """
    digest = file_sha256(path, fresh=fresh)
    if not digest.startswith(expected.lower()):
        raise DamagedFileError(
            f"{path} is damaged: its sha256 should begin with {expected[:16]}, found {digest[:16]}.",
            hint=advice,
            path=str(path),
        )
    return digest


def verify_git_blob(path: Path, expected: str, *, advice: str) -> None:
    """Check a small file against its SHA-1 in git (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).

    Raises DamagedFileError if the hash differs; `advice` says what to do about it.
    """
    with open(path, "rb") as file:
        digest = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise DamagedFileError(
            f"{path} is damaged: its git hash should be {expected[:16]}..., found {digest.hexdigest()[:16]}...",
            hint=advice,
            path=str(path),
        )


def file_sha256(
    path: str | os.PathLike[str],
    fd: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
    *,
    fresh: bool = False,
) -> str:
    """The sha256 of a file, in lower-case hex; remembered if the file has not changed since.

    Args:
        path: the file. `fd`: the same file, opened, in case the path now names a different one.
        stopped: asked every few megabytes; once it returns True, the rest is skipped and the digest is useless.
        fresh: read the file even if its digest is remembered.
    """
    if fd is None:
        with open(path, "rb") as file:
            return file_sha256(path, file.fileno(), stopped, fresh=fresh)
    real = os.path.realpath(path)
    stamp = _stamp(os.fstat(fd))
    stamps = _read_stamps()
    known = stamps.get(real)
    if not fresh and isinstance(known, dict) and _is_digest(known.get("sha256")) and known.items() >= stamp.items():
        return str(known["sha256"])
    settled = _settled(stamp)
    digest = sha256_of(fd, stopped)
    if settled and not stopped() and _stamp(os.fstat(fd)) == stamp:
        _write_stamps(stamps | {real: stamp | {"sha256": digest}})
    return digest


def _stamp(info: os.stat_result) -> dict[str, int]:
    return {"size": info.st_size, "mtime_ns": info.st_mtime_ns, "ctime_ns": info.st_ctime_ns, "inode": info.st_ino}


def _settled(stamp: Mapping[str, int]) -> bool:
    """Whether every write from now on changes the stamp; a write within the tick of the last one would not.

    Waits for the tick to end: for milliseconds, and only if the file was written a moment ago.
    """
    changed = stamp["ctime_ns"]
    tick = _TICK if changed % 1_000_000_000 else _COARSE_TICK
    age = time.time_ns() - changed
    if 0 <= age < tick == _TICK:
        time.sleep((tick - age) / 1e9)
        age = tick
    return age >= tick


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


def stamp_file() -> Path | None:
    """The file in which zoo remembers the files it has checked; None if there is no place for it."""
    folder = existing(state_folder)
    return folder and folder / "verified.json"


def _read_stamps() -> dict[str, object]:
    source = stamp_file()
    try:
        stamps = json.loads(source.read_text()) if source else {}
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _write_stamps(stamps: dict[str, object]) -> None:
    """Remember the stamps, if possible: without one, the file is hashed again next time, which is slower but as safe.

    Files that no longer exist are forgotten.
    """
    target = stamp_file()
    if target is None:
        return
    stamps = {path: stamp for path, stamp in stamps.items() if os.path.exists(path)}
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(stamps, indent=1, sort_keys=True))
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
