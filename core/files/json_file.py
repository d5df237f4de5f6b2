"""Read a small JSON object from an untrusted file."""

from __future__ import annotations

import json
import os
import stat
from typing import Any, NoReturn

from zoo.core.errors import InvalidInputError, NotFoundError

MAX_BYTES = 1 << 20


def read_json_object(path: str | os.PathLike[str], *, name: str = "") -> dict[str, Any]:
    """Read the JSON object in a file.

    Args:
        path: the file.
        name: its name in messages, if that says more than the path.

    Raises:
        NotFoundError: there is no such file, or it cannot be read.
        InvalidInputError: it is not a regular file, is longer than MAX_BYTES, or is not one JSON object.
    """
    path = os.fspath(path)
    name = name or path
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInputError(f"{name} is not a regular file.", path=path)
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFoundError(
            f"{name} cannot be read: {os.strerror(error.errno or 0)}.", hint="Check the path.", path=path
        ) from error
    if len(data) > MAX_BYTES:
        raise InvalidInputError(f"{name} is longer than the limit of {MAX_BYTES} bytes.", path=path)
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidInputError(f"{name} should hold one JSON object, and does not.", hint="Fetch it again.", path=path)
    return document


def _open_without_waiting(path: str, flags: int) -> int:
    # Otherwise opening a pipe would wait for its writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
