"""Open regular files, and unnamed files to unpack into. Standard library only."""

from __future__ import annotations

import io
import os
import stat
import tempfile

from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError


def open_regular(path: str, source: str) -> io.FileIO:
    """Open a regular file, unbuffered. Errors name `source`; raises as `open_input`."""
    try:
        file = io.FileIO(path, opener=_open_without_waiting)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"There is no file {path!r} (any more).", path=source) from None
    except OSError as error:
        raise InvalidInputError(f"{path!r} could not be opened: {error.strerror}.", path=source) from error
    except ValueError:
        raise InvalidInputError(f"{path!r} contains a character that no file name may contain.", path=source) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidInputError(f"{path!r} is not a regular file.", path=source)
    return file


def temporary_file() -> io.FileIO:
    """Create a file without a name. Raises CannotWriteError."""
    try:
        fd, path = tempfile.mkstemp(prefix="zoo-unpacked-")
        os.unlink(path)
    except OSError as error:
        raise no_space(error) from error
    return io.FileIO(fd, "r+")


def no_space(error: OSError) -> CannotWriteError:
    return CannotWriteError(
        f"An archive could not be unpacked to the temporary folder: {error.strerror or error}.",
        hint="Free some space, or set TMPDIR to a folder that has some.",
    )


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a path without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
