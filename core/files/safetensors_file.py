"""Read the safetensors format from untrusted files (safetensors_writer writes it). Standard library only.

Format: 8 bytes little-endian header length, a JSON object name -> {dtype, shape, data_offsets}, the tensors' bytes
(https://github.com/huggingface/safetensors#format). This reader is stricter than the library: duplicate names and a
header over `max_header` bytes are errors.
"""

from __future__ import annotations

import json
import os
import stat
from math import prod
from typing import Any

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.file_kind import EMPTY, HEAD, SAFETENSORS, FileKind, file_kind
from zoo.core.files.stored_tensor import DTYPE_BITS, Region, StoredTensor

MAX_HEADER = 25_000_000
MAX_RANK = 64
_FIELDS = {"dtype", "shape", "data_offsets"}
_MAX_NESTING, _MAX_NUMBER = 125, 1e308


def stamp_of(info: os.stat_result) -> tuple[int, int]:
    """A stamp that changes when somebody writes to the file."""
    return info.st_size, info.st_mtime_ns


def require_unchanged(path: str, fd: int, stamp: tuple[int, int]) -> None:
    """Raise InvalidInputError if the stamp of an open file has changed."""
    if stamp_of(os.fstat(fd)) != stamp:
        raise InvalidInputError(
            f"{path} changed while it was being read.",
            hint="Run the command again when nothing writes to the file.",
            path=path,
        )


def open_regular(path: str) -> int:
    """Open a regular file for reading.

    Raises NotFoundError: it does not exist or cannot be read. InvalidInputError: it is a folder, a pipe or the like.
    """
    try:
        # O_NONBLOCK: a FIFO without a writer must not hang the open.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", hint="Check the path.", path=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(
            f"{path} cannot be opened: {reason}.", hint="Check the path and its permissions.", path=path
        ) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidInputError(f"{path} is not a regular file.", hint="Name a weight file.", path=path)
    return fd


def no_weight_file(path: str, kind: FileKind, head: bytes = b"") -> InvalidInputError:
    """The error for a file that is not a weight file."""
    what = kind.name if kind == EMPTY else f"{kind.name}, not a safetensors file"
    if not kind.name:
        what = f"not a sound safetensors file, nor another that zoo knows: it begins with {head[:8].hex(' ')}"
    return InvalidInputError(f"{path} is {what}.", hint=kind.advice, path=path)


def read_header(path: str, fd: int, max_header: int = MAX_HEADER) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Tensors and metadata of an open file; `path` is for messages. Raises InvalidInputError if the file is unsound."""
    size = os.fstat(fd).st_size

    def invalid(what: str, hint: str = "Download it again, or have it written again.") -> InvalidInputError:
        return InvalidInputError(f"{path} is not a sound safetensors file: {what}.", hint=hint, path=path)

    head = os.pread(fd, HEAD, 0)
    kind = file_kind(head, size, path)
    if kind != SAFETENSORS:
        raise no_weight_file(path, kind, head)
    if size < 8:
        raise invalid(f"expected at least 8 bytes, found {size}", "Download it again.")
    length = int.from_bytes(head[:8], "little")
    if length > size - 8:
        raise invalid(f"its header should take {length} bytes, the file has {size - 8}", "Download it again.")
    if length > max_header:
        raise invalid(
            f"its header takes {length} bytes, over the limit of {max_header}",
            "If that is intended, allow it with --max-header.",
        )
    raw = os.pread(fd, length, 8)
    whole_number = _integer if b"-0" in raw else int  # calling a function for each number takes a third of the time
    try:
        entries = json.loads(
            raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=whole_number
        )
    except (ValueError, RecursionError) as error:
        raise invalid(f"its header is not the expected JSON ({str(error)[:80]})") from None
    if not isinstance(entries, dict):
        raise invalid("its header is not a JSON object")
    metadata = entries.pop("__metadata__", None)
    if metadata is None:  # null counts as missing, as in the library
        metadata = {}
    if not isinstance(metadata, dict) or not all(is_text(text) for pair in metadata.items() for text in pair):
        raise invalid("its metadata is not a table of strings")

    data_start = 8 + length
    found = []
    for name, entry in entries.items():
        problem = _entry_problem(name, entry)
        if problem:
            raise invalid(f"tensor {name[:80]!r} {problem}")
        begin, end = entry["data_offsets"]
        found.append((begin, end, name, entry["dtype"], tuple(entry["shape"])))
    found.sort()
    expected, before = 0, ""
    for begin, end, name, *_ in found:
        if begin != expected:
            what = "overlaps" if begin < expected else "leaves a gap after"
            raise invalid(f"tensor {name[:80]!r} {what} {before[:80]!r}")
        expected, before = end, name
    if data_start + expected != size:
        raise invalid(
            f"its tensors end at byte {data_start + expected}, the file at {size}",
            "Download it again.",
        )
    tensors = {
        name: StoredTensor(name, dtype, shape, Region(fd, data_start + begin, end - begin, path))
        for begin, end, name, dtype, shape in found
    }
    return tensors, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate name {twice[:60]!r}")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    """Parse an integer as the library does: minus zero is a float."""
    return -0.0 if digits == "-0" else int(digits)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def is_text(value: Any) -> bool:
    """Whether a value is a string that UTF-8 can encode: JSON escapes can produce half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_readable(value: Any, nesting: int = 0) -> bool:
    """Whether a field outside the format is within the limits of the library, which reads it too."""
    if isinstance(value, dict | list):
        children = [*value, *value.values()] if isinstance(value, dict) else value
        return nesting < _MAX_NESTING and all(_is_readable(child, nesting + 1) for child in children)
    if isinstance(value, str):
        return is_text(value)
    return value is None or abs(value) < _MAX_NUMBER


def _entry_problem(name: str, entry: Any) -> str:
    if not isinstance(entry, dict) or not entry.keys() >= _FIELDS:
        return "lacks dtype, shape or data_offsets"
    if len(entry) > len(_FIELDS) and not _is_readable({key: entry[key] for key in entry.keys() - _FIELDS}, -1):
        return "has a field that no reader takes"
    if not is_text(name):
        return "has a name that is not Unicode text"
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        return f"has the unknown dtype {str(dtype)[:40]!r}"
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(map(_is_size, shape)):
        return f"has a shape that is not a list of up to {MAX_RANK} sizes"
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        return "has offsets that are not two byte positions"
    # A zero hides an overflow before it: readers multiply from the left.
    count = prod(shape)
    if not 0 < count < 1 << 63 and any(prod(shape[:i]) >= 1 << 63 for i in range(len(shape) + 1)):
        return f"has the shape {shape}, which overflows a size"
    bits = count * DTYPE_BITS[dtype]
    if bits % 8 or offsets[1] - offsets[0] != bits // 8:
        return f"holds {offsets[1] - offsets[0]} bytes, where {dtype} {shape} needs {bits / 8:g}"
    return ""
