"""Silence C libraries that print to the terminal; an exception reports the same.

The libtiff within Pillow prints faults of a file to stderr, whatever the program itself prints there.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def silence_libtiff() -> bool:
    """Remove the error handlers from Pillow's libtiff. Returns False if its file is not found."""
    import PIL

    package = Path(PIL.__file__).parent
    folders = (package.with_name("pillow.libs"), package / ".dylibs")  # its folders in wheels for Linux and macOS
    found = [path for folder in folders for path in folder.glob("libtiff*")]
    with suppress(OSError):  # Linux lists loaded libraries, even if Pillow uses the system's
        found += _loaded() if sys.platform == "linux" and not found else []
    silenced = False
    for path in found:
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))  # already loaded: this only returns a handle
            for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
            silenced = True
    return silenced


def _loaded() -> list[Path]:
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return [Path(name) for name in {line[line.find("/") :] for line in lines if "/libtiff" in line}]
