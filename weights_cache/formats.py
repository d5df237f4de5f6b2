"""What kind of weight file this is, told from its bytes and never from its name. Standard library only."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from enum import StrEnum
from pathlib import Path
from typing import Any

from zoo.core.errors import InvalidInputError, NotFoundError

_MAX_HEADER = 100_000_000
"""Longest safetensors header, in bytes: the limit of the format's own reader."""


class Format(StrEnum):
    SAFETENSORS = "safetensors"
    TORCH_ZIP = "torch zip archive"
    TORCH_LEGACY = "torch pickle"


def sniff(path: Path) -> Format:
    """The format of a weight file.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: not a regular file, or none of the formats; the hint says what it looks like instead.
    """
    size = _regular_size(path)
    with open(path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        return Format.TORCH_ZIP
    if size >= 8 and head[8:9] == b"{":
        _require_whole_header(path, head, size)
        return Format.SAFETENSORS
    # A pickle of protocol 2 and above; torch's own begins so.
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Format.TORCH_LEGACY
    raise _not_weights(path, head, size)


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: tensor name -> dtype, shape and offsets, and `__metadata__`.

    Raises:
        InvalidInputError: another format, a damaged header, or a tensor name that occurs twice.
    """
    if (found := sniff(path)) is not Format.SAFETENSORS:
        raise InvalidInputError(f"{path} should be a safetensors file, found a {found}.", path=str(path))
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a JSON object")
    return header


def _regular_size(path: Path) -> int:
    """Size in bytes; a pipe or a device is refused before opening it could block."""
    try:
        info = path.stat()
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    if not stat.S_ISREG(info.st_mode):
        raise InvalidInputError(f"{path} should be a weight file, found a folder, pipe or device.", path=str(path))
    return info.st_size


def _require_whole_header(path: Path, head: bytes, size: int) -> None:
    (length,) = struct.unpack("<Q", head[:8])
    if length > _MAX_HEADER:
        raise _damaged(path, f"it announces a header of {length} bytes")
    if 8 + length > size:
        raise _damaged(path, f"its header should end at byte {8 + length} and the file has {size}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The format forbids repeated names, its reader lets the last one win.
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a name occurs twice")
    return unique


def _damaged(path: Path, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is no whole safetensors file: {what}.", hint="Download or copy it again.", path=str(path)
    )


def _not_weights(path: Path, head: bytes, size: int) -> InvalidInputError:
    text = head.lstrip().lower()
    if size == 0:
        what, hint = "an empty file", "Download or copy it again."
    elif head.startswith(b"version https://git-lfs.github.com/spec/"):
        what, hint = "a git-lfs pointer", f"Fetch the content it points to: git lfs pull --include '{path.name}'"
    elif text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        what, hint = "a web page", "Download the file itself, not the page that shows it."
    elif head[257:262] == b"ustar":
        what, hint = "a tar archive", "Unpack it, or save it again with a current torch if torch made it."
    elif head.startswith(b"\x89HDF"):
        what, hint = "an HDF5 file", "Convert it where it was made, with Keras."
    elif head.startswith(b"GGUF"):
        what, hint = "a GGUF file", "Use the safetensors file it was made from."
    else:
        what, hint = "something else", "Download or copy it again."
    return InvalidInputError(
        f"{path} should be a safetensors file or a torch checkpoint, found {what}.", hint=hint, path=str(path)
    )


def require_stored(path: Path) -> None:
    """Refuse a torch archive whose entries are compressed: torch writes none, and a small one can fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = next((i.filename for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED), None)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is a damaged zip archive: {error}.", hint="Download or copy it again.", path=str(path)
        ) from error
    if packed is not None:
        raise InvalidInputError(
            f"{path} should be a torch archive, found the compressed entry {packed!r}.",
            hint="Unpack it if it is an ordinary zip file, and use what is inside.",
            path=str(path),
        )
