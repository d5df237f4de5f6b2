"""Write a file and the one with its data, so that it never stands beside other data. Standard library only."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from zoo.core.errors import CannotWriteError
from zoo.core.files.atomic_folder import OutputFolder, equal_files, temporary_folder
from zoo.core.files.atomic_output import (
    cannot_write,
    check_target,
    exists_with_other_contents,
    sync_folder,
    temporary_path,
)


@contextmanager
def atomic_pair(
    path: str | os.PathLike[str], data: str | os.PathLike[str], *, force: bool = False, sync: bool = True
) -> Iterator[OutputFolder]:
    """Write two files into a temporary folder beside the target; on leaving without an error, put both in place.

    They are written under their own names, so the first can be used where it lies. An identical pair is left alone.
    A file with different content is replaced only with `force`, and keeps its permissions.

    Args:
        path: the first file, which refers to the second.
        data: the second file, in the same folder.
        force: replace files that differ.
        sync: as for `atomic_output`.

    Raises CannotWriteError: they could not be written, for any reason; the old pair is then intact.
    """
    target, other = check_target(path), check_target(data)
    for given in (os.fspath(path), os.fspath(data)):
        if os.path.islink(given):
            raise CannotWriteError(
                f"{given} is a link, and the model is written as two files that lie in one folder.",
                hint="Name the file itself with -o.",
                path=given,
            )
    folder, names = os.path.dirname(target), (os.path.basename(target), os.path.basename(other))
    try:
        with temporary_folder(folder, sync=sync) as written:
            yield written
            written.sync_names()
            with _alone(target):
                written.unchanged = _publish(written.path, folder, names, force=force, sync=sync)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def _alone(target: str) -> Iterator[None]:
    """Wait until no other run puts a pair in place under this name: two at once could mix theirs.

    The lock is a file that a run without it takes for a leftover, should this process be killed.
    """
    folder, name = os.path.split(target)
    lock = os.path.join(folder, f".zoo-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.tmp")
    fd = -1
    try:
        while fd < 0:
            flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(lock, flags, 0o666)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.fstat(fd).st_nlink:  # the run that had it is done
                os.close(fd)
                fd = -1
        yield
    finally:
        if fd >= 0:
            with suppress(FileNotFoundError):
                os.unlink(lock)
            os.close(fd)


def _publish(written: str, folder: str, names: tuple[str, str], *, force: bool, sync: bool) -> bool:
    """Move two files from the folder where they were written into place; return True if both were there already.

    A process may be killed after any step. The old first file therefore goes before the data change, and the new one
    comes after that: what is found later is the old pair, no first file, or the new pair. The old files are kept until
    the end, and an error brings them back.
    """
    new = [os.path.join(written, name) for name in names]
    targets = [os.path.join(folder, name) for name in names]
    same = [equal_files(*pair) for pair in zip(new, targets, strict=True)]
    if all(same):
        return True
    there = [os.path.lexists(target) for target in targets]
    for path, target, is_same, exists in zip(new, targets, same, there, strict=True):
        if exists:
            if not is_same and not force:
                raise exists_with_other_contents(target)
            os.chmod(path, stat.S_IMODE(os.stat(target).st_mode))
    if same[1]:
        os.rename(new[0], targets[0])
        if sync:
            sync_folder(folder)
        return False
    moves = [(target, temporary_path(written)) for target, exists in zip(targets, there, strict=True) if exists]
    moves += [(new[1], targets[1]), (new[0], targets[0])]
    done: list[tuple[str, str]] = []
    try:
        for source, destination in moves:
            done.append((source, destination))  # noted first: a signal may end the call after the move
            os.rename(source, destination)
            if sync:
                sync_folder(folder)
    except BaseException:
        for source, destination in reversed(done):
            with suppress(FileNotFoundError):  # the move that failed
                os.rename(destination, source)
        raise
    return False
