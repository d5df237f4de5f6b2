"""The result of reading one format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from zoo.core.files.stored_tensor import Region


class Contents(NamedTuple):
    """The plain data of a file with records of its tensors, and the location of the tensors' elements.

    `swapped` says that the elements of the storages are big-endian. `backing` is the number of unpacked bytes in
    addition to the file's own. `opaque` names the functions that the pickle asks for and that were not called.
    `metadata` and `graph` are what a graph says of itself; `skipped` has the name and kind of what is in it besides
    weights, and `files` the path and descriptor of other files that it lies in.
    """

    format: str
    value: Any
    storages: Mapping[str, Region]
    swapped: bool = False
    backing: int = 0
    opaque: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}
    graph: Mapping[str, Any] = {}
    skipped: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, int], ...] = ()
