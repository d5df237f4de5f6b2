"""Check a file against the sha256 it is published under, once.

What was read is remembered by a stamp: real path, inode, size, and the times of the last write and of the last change.
No program can set the last of them back, so a file with the same stamp has the same content, however it is called.
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
"""Nanoseconds: file times are those of the kernel's last tick, of which there are 100 a second or more."""
_COARSE_TICK = 2_000_000_000
"""Nanoseconds, of file systems that keep whole seconds."""


class DamagedFileError(InvalidInputError):
    """A file does not have the content that it is published under."""


def verify(path: Path, expected: str, *, advice: str, fresh: bool = False) -> str:
    """Check that the sha256 of a file begins with `expected`; returns the whole digest in lower-case hex.

    A file that has not changed since the last check, as its stamp tells, is not read again, unless a `fresh` look is
    asked for: a disk can change bytes without changing those.

    Raises:
        DamagedFileError: another digest; `advice` says what to do about it.
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
    """Check a small file against the SHA-1 that git gives it (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).

    Raises DamagedFileError: another hash; `advice` says what to do about it.
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
    """The sha256 of a file, in lower-case hex; from memory where the file has not changed since it was last taken.

    Args:
        path: the file, fd: it, opened, where the path may have got another one since.
        stopped: asked every few megabytes; when it says so, the rest is left out and the digest is of no use.
        fresh: read the file whatever is remembered of it.
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
    """Whether every write from now on changes the stamp: one within the tick of the last would not.

    Waits for the tick to end, which is milliseconds, and only for a file that was written a moment ago.
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
    """Where zoo remembers which files it has checked, None where there is no place for it."""
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
    """Best effort: without a stamp the file is hashed again next time, which is slower and as safe.

    Files that are gone are forgotten.
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
