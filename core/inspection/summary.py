"""The contents of a weight file: totals, dtypes, modules. Standard library only; only statistics read tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

from zoo.core.files.stored_tensor import StoredTensor


class Totals(NamedTuple):
    """The numbers of tensors, values and bytes."""

    tensors: int = 0
    values: int = 0
    bytes: int = 0

    def plus(self, tensor: StoredTensor) -> Totals:
        return Totals(self.tensors + 1, self.values + prod(tensor.shape), self.bytes + tensor.nbytes)


def totals(tensors: Iterable[StoredTensor]) -> Totals:
    """The totals of all tensors."""
    found = Totals()
    for tensor in tensors:
        found = found.plus(tensor)
    return found


def totals_by_dtype(tensors: Iterable[StoredTensor]) -> dict[str, Totals]:
    """The totals per dtype, the dtype with most bytes first."""
    found: dict[str, Totals] = {}
    for tensor in tensors:
        found[tensor.dtype] = found.get(tensor.dtype, Totals()).plus(tensor)
    return dict(sorted(found.items(), key=lambda item: (-item[1].bytes, item[0])))


def totals_by_module(tensors: Iterable[StoredTensor]) -> dict[str, Totals]:
    """The totals per module path, including enclosing modules; parents first, otherwise in the order of the tensors."""
    found: dict[str, Totals] = {}
    children: dict[str, list[str]] = {}
    for tensor in tensors:
        above = ""
        for part in tensor.name.split(".")[:-1]:
            path = f"{above}.{part}" if above else part
            if path not in found:
                found[path] = Totals()
                children.setdefault(above, []).append(path)
            found[path] = found[path].plus(tensor)
            above = path
    ordered: dict[str, Totals] = {}
    waiting = list(reversed(children.get("", [])))
    while waiting:
        path = waiting.pop()
        ordered[path] = found[path]
        waiting += reversed(children.get(path, []))
    return ordered


def readable_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The metadata, with JSON objects and lists parsed."""
    import json

    def read(text: str) -> Any:
        if text[:1] not in ("{", "["):
            return text
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text

    return {key: read(value) for key, value in sorted(metadata.items())}
