"""Write output files that have either the old content or all of the new, never a mixture. Standard library only."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from zoo.core.errors import CannotWriteError, UsageError

_TEMPORARY = re.compile(r"\.zoo-[0-9a-f]{16}\.tmp")
_COMPARE_CHUNK = 1 << 20
_FICLONERANGE = 0x4020940D  # from linux/fs.h; on architectures with another number, this one is unknown
_SHARED_BLOB = re.compile(r"/blobs/[0-9a-f]{2}/[0-9a-f]{40,64}$")
_HINTS = {
    errno.ENOSPC: "Free some space, or choose another place with -o.",
    errno.EDQUOT: "Free some of your quota, or choose another place with -o.",
    errno.EFBIG: "Raise the limit (ulimit -f), or choose a file system that takes files of this size.",
    errno.ENAMETOOLONG: "Choose a shorter name with -o.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
    errno.ENFILE: "Close other programs: the whole machine has too many files open.",
}


class OutputFile:
    """A file being written: `fd` is open for writing, `path` is its temporary path.

    `unchanged` says afterwards whether the target was already identical.
    """

    def __init__(self, fd: int, path: str, *, sync: bool = True) -> None:
        self.fd = fd
        self.path = path
        self._sync = sync
        self.unchanged = False
        self._end = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write after the data of earlier calls of `write`."""
        self._end = self.write_at(data, self._end)

    def write_at(self, data: bytes | memoryview, position: int) -> int:
        """Write all of `data` at a position in bytes; return the position after it."""
        view = memoryview(data).cast("B")
        while view:
            written = os.pwrite(self.fd, view, position)
            view, position = view[written:], position + written
        return position

    def reserve(self, length: int) -> None:
        """Allocate `length` bytes on disk: a full disk is reported early, and writing is faster."""
        if length and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.fd, 0, length)

    def share(self, fd: int, offset: int, length: int, position: int) -> bool:
        """Share `length` bytes at `offset` of another file, so that both files use the same disk blocks.

        Returns False if the file system cannot share blocks, the files are on different file systems, or the numbers
        are not multiples of the block size. Later writes to either file do not show in the other.
        """
        if sys.platform != "linux":
            return False
        # https://man7.org/linux/man-pages/man2/ioctl_ficlonerange.2.html
        try:
            fcntl.ioctl(self.fd, _FICLONERANGE, array("Q", [fd, offset, length, position]))
        except OSError:  # a copy meets any error that prevents writing altogether
            return False
        return True

    def start_writeback(self, position: int, length: int) -> None:
        """Let the kernel start writing these bytes to disk, so that the final sync has little left to do."""
        if self._sync and hasattr(os, "posix_fadvise"):
            # On dirty pages this advice starts writeback without waiting.
            with suppress(OSError):
                os.posix_fadvise(self.fd, position, length, os.POSIX_FADV_DONTNEED)


@contextmanager
def atomic_output(path: str | os.PathLike[str], *, force: bool = False, sync: bool = True) -> Iterator[OutputFile]:
    """Write next to the target under a random name; on leaving without an error, sync the file and put it in place.

    A target with identical content is left alone. A target with different content is replaced only with `force`, and
    keeps its permissions. A symbolic link is kept; the file it points to is replaced. Without `sync`, a power cut may
    leave missing bytes under the new name; a crash of the process alone cannot.

    Raises:
        CannotWriteError: the file could not be written, for any reason; the old content is then intact.
    """
    target = check_target(path)
    folder = os.path.dirname(target)
    temporary, fd = "", -1
    try:
        remove_stale(folder)
        while fd < 0:
            temporary = temporary_path(folder)
            fd = _create_locked(temporary)
        output = OutputFile(fd, temporary, sync=sync)
        yield output
        if sync:
            os.fsync(fd)
        output.unchanged = _publish(temporary, fd, target, force)
        if sync and not output.unchanged:
            sync_folder(os.path.dirname(target))
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        # Remove it by name, even without a descriptor: a signal can end the call that makes both.
        with suppress(OSError):
            os.unlink(temporary)
        if fd >= 0:
            with suppress(OSError):  # everything was synced before, or is discarded
                os.close(fd)


def refuse_pipe(path: str | os.PathLike[str]) -> None:
    """Raise UsageError if an output is `-`, which stands for standard output elsewhere."""
    if os.fspath(path) == "-":
        raise UsageError(
            "The output cannot be standard output: it is checked first, and then moved into place as a whole.",
            hint="Name a file or folder with -o.",
        )


def check_target(path: str | os.PathLike[str], *, folder: bool = False) -> str:
    """The real path of the file, or with `folder` the folder, that a write to `path` replaces.

    Raises CannotWriteError if it must not or cannot be replaced, UsageError for `-`.
    """
    given = os.fspath(path)
    refuse_pipe(given)
    try:
        target = os.path.realpath(given)
        parent = os.path.dirname(target)
        if os.path.islink(given) and not os.path.exists(target):
            raise CannotWriteError(
                f"{given} is a link to a file that does not exist.", hint="Remove the link, or mend it.", path=given
            )
        try:
            os.stat(parent)
        except FileNotFoundError:
            import shlex

            raise CannotWriteError(
                f"The folder {parent} does not exist.", hint=f"Create it: mkdir -p {shlex.quote(parent)}", path=given
            ) from None
        try:
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            mode = stat.S_IFDIR if folder else stat.S_IFREG
    except OSError as error:
        raise cannot_write(path, error) from error
    except ValueError:
        raise CannotWriteError(f"{given!r} holds a NUL, which no file name may contain.", path=given) from None
    if folder and not stat.S_ISDIR(mode):
        raise CannotWriteError(
            f"{given} is a file; the output must be a folder.", hint="Name a folder with -o.", path=given
        )
    if not folder and not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise CannotWriteError(
            f"{given} is {kind}; the output must be a file.", hint="Name a file with -o.", path=given
        )
    if _in_hub_cache(target) or _in_hub_cache(os.path.abspath(given)):
        raise CannotWriteError(
            f"{given} lies in the Hugging Face cache, whose files are shared and named by their checksum.",
            hint="Choose a path outside the cache.",
            path=given,
        )
    return target


def cannot_write(path: str | os.PathLike[str], error: OSError) -> CannotWriteError:
    """The error that states the operating system's reason as one sentence."""
    reason = error.strerror or str(error)
    hint = _HINTS.get(error.errno or 0, "Choose another place with -o.")
    return CannotWriteError(f"{os.fspath(path)} could not be written: {reason}.", hint=hint, path=os.fspath(path))


def _in_hub_cache(target: str) -> bool:
    parts = Path(target).parts
    in_repository = any(
        part.startswith(("models--", "datasets--")) and following in ("blobs", "snapshots", "refs")
        for part, following in pairwise(parts)
    )
    return in_repository or bool(_SHARED_BLOB.search(target))


def _publish(temporary: str, fd: int, target: str, force: bool) -> bool:
    """Rename the file into place; return True if the target already had this content."""
    try:
        existing = os.stat(target)
    except FileNotFoundError:
        existing = None
    if existing is not None:
        if equal_content(fd, target):
            return True
        if not force:
            raise exists_with_other_contents(target)
        os.fchmod(fd, stat.S_IMODE(existing.st_mode))
    os.rename(temporary, target)
    return False


def exists_with_other_contents(target: str) -> CannotWriteError:
    """The error for a file or folder that differs and may not be replaced."""
    return CannotWriteError(
        f"{target} already exists with other contents.", hint="Pass --force to replace it.", path=target
    )


def sync_folder(path: str) -> None:
    """Make the names in a folder survive a power cut, as far as its file system allows."""
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def equal_content(fd: int, target: str) -> bool:
    """Whether an open file and the file at a path hold the same bytes."""
    with open(target, "rb") as file:
        if os.fstat(fd).st_size != os.fstat(file.fileno()).st_size:
            return False
        offset = 0
        while chunk := file.read(_COMPARE_CHUNK):
            if os.pread(fd, len(chunk), offset) != chunk:
                return False
            offset += len(chunk)
    return True


def temporary_path(folder: str) -> str:
    """A random name in a folder, recognisable as a leftover if the process is killed."""
    return os.path.join(folder, f".zoo-{os.urandom(8).hex()}.tmp")


def _create_locked(path: str) -> int:
    """Create a file, open and locked to show other runs that it is in use; -1 if another run removed it first."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with suppress(OSError):  # a file system without locks; nothing counts as stale there
        fcntl.flock(fd, fcntl.LOCK_EX)
    if os.fstat(fd).st_nlink:
        return fd
    os.close(fd)  # another run removed it as stale before it was locked
    return -1


def remove_stale(folder: str) -> None:
    """Remove leftovers of killed processes: temporary files and folders that nobody has locked."""
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:  # a folder may be writable but not readable
        names = [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for name in names:
        path = os.path.join(folder, name)
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISDIR(os.fstat(fd).st_mode):
                    import shutil

                    shutil.rmtree(path)
                else:
                    os.unlink(path)
            finally:
                os.close(fd)
