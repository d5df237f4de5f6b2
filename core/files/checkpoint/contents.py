"""What a reader of one format finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from zoo.core.files.stored_tensor import Region


class Contents(NamedTuple):
    """The plain data of a file with records of tensors in them, and where the tensors' elements are.

    `swapped` says that the elements of the storages are in big-endian order. `backing` is how many bytes there are
    beside those of the file: of what was unpacked. `opaque` names the functions that the pickle asks for and that were
    not called.
    """

    format: str
    value: Any
    storages: Mapping[str, Region]
    swapped: bool = False
    backing: int = 0
    opaque: tuple[str, ...] = ()
