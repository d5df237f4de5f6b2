"""What libraries of C print to the terminal by themselves: kept silent, an exception says the same.

The libtiff within Pillow prints what it finds wrong with a file to stderr, whatever the program means to print there.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def silence_libtiff() -> bool:
    """Take the error handlers out of the libtiff that Pillow brought. False where it is not found as a file."""
    import PIL

    package = Path(PIL.__file__).parent
    folders = (package.with_name("pillow.libs"), package / ".dylibs")  # where wheels for Linux and macOS have it
    found = [path for folder in folders for path in folder.glob("libtiff*")]
    with suppress(OSError):  # Linux says what is loaded, also where Pillow uses the system's
        found += _loaded() if sys.platform == "linux" and not found else []
    silenced = False
    for path in found:
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))  # it is loaded already: this is a handle to it
            for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
            silenced = True
    return silenced


def _loaded() -> list[Path]:
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return [Path(name) for name in {line[line.find("/") :] for line in lines if "/libtiff" in line}]
