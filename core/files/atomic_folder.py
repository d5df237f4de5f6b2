"""Write output folders that are either unchanged or complete, never a mixture. Standard library only."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from zoo.core.errors import CannotWriteError
from zoo.core.files.atomic_output import (
    OutputFile,
    cannot_write,
    check_target,
    equal_content,
    exists_with_other_contents,
    remove_stale,
    sync_folder,
    temporary_path,
)

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class OutputFolder:
    """A folder being written; `unchanged` says afterwards whether the target was already identical."""

    def __init__(self, path: str, fd: int, *, sync: bool) -> None:
        self.path = path
        self.unchanged = False
        self._fd = fd
        self._sync = sync

    @contextmanager
    def file(self, name: str) -> Iterator[OutputFile]:
        """Write one new file into the folder. Errors are OSErrors."""
        path = os.path.join(self.path, name)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            yield OutputFile(fd, path, sync=self._sync)
            if self._sync:
                os.fsync(fd)
        finally:
            os.close(fd)

    def sync_file(self, name: str) -> None:
        """Sync a file that another program wrote into the folder. Errors are OSErrors."""
        if self._sync:
            fd = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def sync_names(self) -> None:
        """Make the names of the files survive a power cut. Errors are OSErrors."""
        if self._sync:
            os.fsync(self._fd)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, force: bool = False, sync: bool = True) -> Iterator[OutputFolder]:
    """Write a folder next to the target under a random name; on leaving without an error, put it in place.

    A target with identical files is left alone. A target whose files differ is replaced only with `force`. A target
    with files of other names is never replaced.

    Raises:
        CannotWriteError: the folder could not be written, for any reason; the existing one is then intact.
    """
    target = check_target(path, folder=True)
    try:
        with temporary_folder(os.path.dirname(target), sync=sync) as folder:
            yield folder
            folder.sync_names()
            folder.unchanged = _publish(folder.path, target, force)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def temporary_folder(parent: str, *, sync: bool = True) -> Iterator[OutputFolder]:
    """A new folder with a random name in `parent`, which is removed on leaving. Errors are OSErrors.

    What killed processes left in `parent` is removed first.
    """
    temporary, lock = "", -1
    try:
        remove_stale(parent)
        while lock < 0:
            temporary = temporary_path(parent)
            lock = _create_locked(temporary)
        yield OutputFolder(temporary, lock, sync=sync)
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def _create_locked(path: str) -> int:
    """Create a folder, open and locked to show other runs that it is in use; -1 if another run removed it first."""
    os.mkdir(path)
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1  # another run removed it as stale before it was opened
    with suppress(OSError):  # a file system without locks; nothing counts as stale there
        fcntl.flock(lock, fcntl.LOCK_EX)
    if os.path.isdir(path):
        return lock
    os.close(lock)  # another run removed it as stale before it was locked
    return -1


def _publish(temporary: str, target: str, force: bool) -> bool:
    """Put the new folder in place and leave the old one under the temporary name; True if it was already identical."""
    if not os.path.exists(target):
        os.rename(temporary, target)
        sync_folder(os.path.dirname(target))
        return False
    names = set(os.listdir(temporary))
    foreign = sorted(set(os.listdir(target)) - names)
    if foreign:
        raise CannotWriteError(
            f"{target} holds {foreign[0]!r}, which zoo did not write.", hint="Choose a new folder with -o.", path=target
        )
    if all(equal_files(os.path.join(temporary, name), os.path.join(target, name)) for name in names):
        return True
    if os.listdir(target) and not force:
        raise exists_with_other_contents(target)
    _exchange(temporary, target)
    sync_folder(os.path.dirname(target))
    return False


def equal_files(path: str, other: str) -> bool:
    """Whether `other` is a file too, with the same bytes."""
    if not os.path.isfile(other):
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return equal_content(fd, other)
    finally:
        os.close(fd)


def _exchange(temporary: str, target: str) -> None:
    """Swap two folders: in one step if the system can, otherwise in two, restoring the old folder on failure."""
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is not None:
        names = os.fsencode(temporary), os.fsencode(target)
        if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return
    aside = temporary_path(os.path.dirname(target))
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(aside, target)
        raise
    os.rename(aside, temporary)
