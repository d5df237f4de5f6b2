"""The published architectures nearest to a checkpoint whose names are foreign, by the shapes of its weights alone.

`shape_digests.json` has one line per architecture: how often it has each shape, and which shapes read the image. A
shape counts without its order and without axes of length one, since ecosystems transpose and squeeze; a projection to
queries, keys and values counts as three. `zoo.core.model.build_index` writes the lines. Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from zoo.core.architectures.line_table import LineTable
from zoo.core.identify.similar_architectures import MOST_GUESSES, Similar

SHAPES_PATH = Path(__file__).with_name("shape_digests.json")
SHAPES_SECTION = "architectures"

LEAST_OVERLAP = 0.7
"""Networks that are no image models reach two thirds by chance: transformers of text have most shapes of ViT's."""
_DIGEST = 4
_FEWEST = 8
"""Fewer weights than any published architecture has say nothing."""

Shapes = Mapping[str, Sequence[int]]

_table = LineTable(SHAPES_PATH, SHAPES_SECTION)


def shape_digests(shapes: Shapes, input_layers: Iterable[str], classifier: Iterable[str]) -> dict[str, str]:
    """The row of an architecture.

    Args:
        shapes: state-dict key -> shape.
        input_layers: module paths, whose kernels are also stated without their channels.
        classifier: module paths, which are ignored.
    """
    heads = tuple(f"{path}." for path in classifier)
    inputs = {f"{path}.weight" for path in input_layers}
    trunk = {key: shape for key, shape in shapes.items() if not key.startswith(heads) and key not in inputs}
    stems = {_digest(without_channels(shapes[key])[0]) for key in inputs if len(shapes.get(key, ())) == 4}
    counted = "".join(f"{digest}{count:x} " for digest, count in sorted(_counted(trunk.values()).items()))
    return {"stems": "".join(sorted(stems)), "shapes": counted.strip()}


def find_similar_shapes(shapes: Shapes) -> list[Similar]:
    """The architectures with most shapes in common, the best first; empty if none is near or nothing reads an image."""
    found = _counted(shapes.values())
    total = found.total()
    if total < _FEWEST:
        return []
    kernels = [shape for shape in shapes.values() if len(shape) == 4]
    stems = {_digest(one) for shape in kernels for one in without_channels(shape)}
    best: dict[tuple[float, float], list[str]] = {}
    for name, (theirs, count, inputs) in _architectures().items():
        if not (inputs and inputs <= stems) or 2 * min(total, count) < LEAST_OVERLAP * (total + count):
            continue
        shared = sum(min(number, found[digest]) for digest, number in theirs.items())
        overlap = 2 * shared / (total + count)
        if overlap >= LEAST_OVERLAP:
            best.setdefault((overlap, shared / count), []).append(name)
    ranked = sorted(best.items(), reverse=True)[:MOST_GUESSES]
    return [Similar(tuple(names), *measures) for measures, names in ranked]


def without_channels(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """What may be left of a kernel without its channels: of (out, in, h, w) and of (h, w, in, out)."""
    outputs_first = (shape[0], *sorted(shape[2:]))
    outputs_last = (shape[3], *sorted(shape[:2]))
    return [outputs_first, outputs_last] if shape[0] == shape[1] else [outputs_first]


def _counted(shapes: Iterable[Sequence[int]]) -> Counter[str]:
    """How often each shape of two axes or more occurs."""
    found: Counter[str] = Counter()
    for shape in shapes:
        sizes = sorted(size for size in shape if size != 1)
        if len(sizes) < 2:
            continue
        parts = 1
        if len(sizes) == 2 and sizes[1] in (2 * sizes[0], 3 * sizes[0]):  # kv, or qkv
            parts, sizes = sizes[1] // sizes[0], [sizes[0], sizes[0]]
        found[_digest(sizes)] += parts
    return found


def _digest(sizes: Iterable[int]) -> str:
    digest = hashlib.sha256("x".join(map(str, sizes)).encode()).digest()
    return base64.b64encode(digest[:3]).decode()


@cache
def _architectures() -> dict[str, tuple[dict[str, int], int, frozenset[str]]]:
    """Architecture -> the counts of its shapes, their sum, and the kernels that read the image."""
    rows = {}
    for name, row in _table.items():
        counts = {token[:_DIGEST]: int(token[_DIGEST:], 16) for token in row["shapes"].split()}
        stems = frozenset(row["stems"][i : i + _DIGEST] for i in range(0, len(row["stems"]), _DIGEST))
        rows[name] = (counts, sum(counts.values()), stems)
    return rows
