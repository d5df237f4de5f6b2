"""Output files that are either the old content or the whole new one, never a mixture. Standard library only."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from zoo.core.errors import CannotWriteError

TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".zoo-", ".tmp"
_COMPARE_CHUNK = 1 << 20


class OutputFile:
    """A file being written: `fd` is open for writing; `unchanged` says afterwards that the target was equal already."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.unchanged = False

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(self.fd, view) :]


@contextmanager
def atomic_output(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[OutputFile]:
    """Write beside the target under a random name; on leaving without an error, sync it and put it in place.

    A target with equal content is left alone; one with other content is replaced only with `force`, and keeps its
    permissions. A symbolic link keeps pointing at its target, which is what gets replaced.

    Raises:
        CannotWriteError: for every reason that the file could not be written; the old content is then intact.
    """
    target = check_target(path)
    name = f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}{TEMPORARY_SUFFIX}"
    temporary = os.path.join(os.path.dirname(target), name)
    fd = -1
    try:
        _remove_stale(os.path.dirname(target))
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        output = OutputFile(fd)
        yield output
        os.fsync(fd)
        output.unchanged = _publish(temporary, fd, target, force)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if fd >= 0:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(temporary)


def check_target(path: str | os.PathLike[str]) -> str:
    """The real path that a write to `path` replaces. Raises CannotWriteError where that must not or cannot be."""
    given = os.fspath(path)
    try:
        target = os.path.realpath(given)
        parent = os.path.dirname(target)
        if os.path.islink(given) and not os.path.exists(target):
            raise CannotWriteError(f"{given} is a link to a file that does not exist.", path=given)
        if not os.path.isdir(parent):
            raise CannotWriteError(
                f"The folder {parent} does not exist.", hint=f"Create it: mkdir -p {parent}", path=given
            )
        try:
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
    except OSError as error:
        raise cannot_write(path, error) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise CannotWriteError(
            f"{given} is {kind}; the output must be a file.", hint="Name a file with -o.", path=given
        )
    if _in_hub_cache(target):
        raise CannotWriteError(
            f"{given} lies in the Hugging Face cache, whose files are shared and named by their checksum.",
            hint="Choose a path outside the cache.",
            path=given,
        )
    return target


def cannot_write(path: str | os.PathLike[str], error: OSError) -> CannotWriteError:
    """The operating system's reason as one sentence."""
    reason = error.strerror or str(error)
    return CannotWriteError(f"{os.fspath(path)} could not be written: {reason}.", path=os.fspath(path))


def _in_hub_cache(target: str) -> bool:
    parts = Path(target).parts
    return any(
        part.startswith(("models--", "datasets--")) and following in ("blobs", "snapshots", "refs")
        for part, following in pairwise(parts)
    )


def _publish(temporary: str, fd: int, target: str, force: bool) -> bool:
    """Rename into place; True where the target had this content already."""
    try:
        existing = os.stat(target)
    except FileNotFoundError:
        existing = None
    if existing is not None:
        if _equal_content(fd, target):
            return True
        if not force:
            raise CannotWriteError(
                f"{target} exists and holds something else.", hint="Pass --force to replace it.", path=target
            )
        os.fchmod(fd, stat.S_IMODE(existing.st_mode))
    os.rename(temporary, target)
    folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return False


def _equal_content(fd: int, target: str) -> bool:
    with open(target, "rb") as file:
        if os.fstat(fd).st_size != os.fstat(file.fileno()).st_size:
            return False
        offset = 0
        while chunk := file.read(_COMPARE_CHUNK):
            if os.pread(fd, len(chunk), offset) != chunk:
                return False
            offset += len(chunk)
    return True


def _remove_stale(folder: str) -> None:
    """Remove what a killed process left behind: temporary files that nobody holds a lock on."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.startswith(TEMPORARY_PREFIX) and e.name.endswith(TEMPORARY_SUFFIX)]
    for name in names:
        path = os.path.join(folder, name)
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(fd)
