"""Blocks that a scan over them stacked along a first axis, one by one: big_vision trains so (flax.linen.scan)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.layouts.operations import split
from zoo.core.layouts.table import Shapes

_STACK = "Transformer/encoderblock/"
_MOST_BLOCKS = 1000
"""More are no network's; an array without values may state any number."""

T = TypeVar("T")


def unscanned_shapes(shapes: Shapes) -> Shapes:
    """The shapes of tensors of single blocks."""
    return _unscanned(shapes, lambda shape: shape, lambda _, names, shape: [shape[1:]] * len(names))


def unscanned(tensors: Mapping[str, StoredTensor]) -> Mapping[str, StoredTensor]:
    """The tensors of single blocks; nothing is read."""

    def parts(tensor: StoredTensor, names: list[str], shape: Sequence[int]) -> list[StoredTensor]:
        found = split(tensor, names, [1] * len(names))
        return [part._replace(shape=tuple(shape[1:])) for part in found]

    return _unscanned(tensors, lambda tensor: tensor.shape, parts)


def _unscanned(
    items: Mapping[str, T],
    shape_of: Callable[[T], Sequence[int]],
    parts: Callable[[T, list[str], Sequence[int]], list[T]],
) -> Mapping[str, T]:
    if not any(_STACK in name for name in items):
        return items
    single: dict[str, T] = {}
    for name, item in items.items():
        before, stacked, after = name.partition(_STACK)
        shape = shape_of(item)
        if not stacked or not shape or not 0 < shape[0] <= _MOST_BLOCKS:
            single[name] = item
            continue
        names = [f"{before}{_STACK[:-1]}_{depth}/{after}" for depth in range(shape[0])]
        single.update(zip(names, parts(item, names, shape), strict=True))
    return single
