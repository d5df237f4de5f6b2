"""The published architectures that share most layers with a checkpoint that matches none. Standard library only.

`layer_digests.json` has one line per architecture: a digest of each layer, four characters of base64 (24 bits) each. A
checkpoint of 400 layers and an architecture of 200 share one digest by chance in one case of 200: the counts are exact
enough for a ranking. `zoo.core.model.build_index` writes the lines of architectures that zoo builds.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from zoo.core.architectures.line_table import LineTable
from zoo.core.architectures.published import input_layer_names

DIGESTS_PATH = Path(__file__).with_name("layer_digests.json")
DIGESTS_SECTION = "architectures"

# Any two networks of a family share this much.
_LEAST_OVERLAP = 0.5
MOST_GUESSES = 5
_DIGEST_BYTES = 3

Shapes = Mapping[str, Sequence[int]]

_table = LineTable(DIGESTS_PATH, DIGESTS_SECTION)


class Similar(NamedTuple):
    """Architectures that share layers with a checkpoint; several if their layers are the same.

    Args:
        architectures: their names.
        overlap: layers shared by both, relative to those of either (Dice's coefficient 2 |A and B| / (|A| + |B|)), 0 to
            1.
        coverage: share of the architecture's layers, without classifiers, that the checkpoint has in the same shapes.
    """

    architectures: tuple[str, ...]
    overlap: float
    coverage: float


def layer_digests(shapes: Shapes, input_layers: Iterable[str], classifier: Iterable[str]) -> str:
    """The row of an architecture: the concatenated digests of its layers.

    Args:
        shapes: state-dict key -> shape.
        input_layers: module paths, whose input channels are ignored.
        classifier: module paths, which are ignored.
    """
    inputs = set(input_layers)
    layers = layers_of(shapes, without=classifier)
    return "".join(sorted(digest(path, tensors, any_chans=path in inputs) for path, tensors in layers.items()))


def find_similar(shapes: Shapes) -> list[Similar]:
    """The architectures closest to these tensors, the closest first; empty if none shares half of its layers."""
    layers = layers_of(shapes)
    digests = {digest(path, tensors) for path, tensors in layers.items()}
    for path in layers.keys() & input_layer_names().keys():
        digests.add(digest(path, layers[path], any_chans=True))
    found: dict[tuple[float, float], list[str]] = {}
    for name, theirs in _architectures().items():
        if 2 * min(len(layers), len(theirs)) < _LEAST_OVERLAP * (len(layers) + len(theirs)):
            continue  # even if all layers of the smaller one were shared
        shared = len(digests.intersection(theirs))
        overlap, coverage = 2 * shared / (len(layers) + len(theirs)), shared / len(theirs)
        if overlap >= _LEAST_OVERLAP:
            found.setdefault((overlap, coverage), []).append(name)
    best = sorted(found.items(), reverse=True)[:MOST_GUESSES]
    return [Similar(tuple(names), *measures) for measures, names in best]


def digests_of(architecture: str) -> set[str]:
    """The digests of an architecture's layers; empty if it is unknown."""
    return set(_digests(_table[architecture])) if architecture in _table else set()


def layers_of(shapes: Shapes, *, without: Iterable[str] = ()) -> dict[str, dict[str, Sequence[int]]]:
    """Module path -> the shapes of its own tensors by their last name, except for modules below the paths `without`.

    Batch counters are left out, since old checkpoints lack them.
    """
    heads = tuple(f"{path}." for path in without)
    layers: dict[str, dict[str, Sequence[int]]] = {}
    for key, shape in shapes.items():
        path, _, last = key.rpartition(".")
        if last != "num_batches_tracked" and not key.startswith(heads):
            layers.setdefault(path, {})[last] = shape
    return layers


def digest(path: str, tensors: Shapes, *, any_chans: bool = False) -> str:
    """The digest of one layer, from its path and its own tensors' shapes; `any_chans` ignores the input channels."""
    words = [path]
    for last, shape in sorted(tensors.items()):
        sizes = [str(size) for size in shape]
        if any_chans and last == "weight" and len(sizes) > 1:
            sizes[1] = "C"
        words.append(f"{last}={'x'.join(sizes)}")
    digest = hashlib.sha256(" ".join(words).encode(errors="surrogatepass")).digest()
    return base64.b64encode(digest[:_DIGEST_BYTES]).decode()


@cache
def _architectures() -> dict[str, list[str]]:
    """Architecture -> the digests of its layers."""
    return {name: _digests(row) for name, row in _table.items()}


def _digests(row: Mapping[str, str]) -> list[str]:
    return re.findall("....", row["layers"])
