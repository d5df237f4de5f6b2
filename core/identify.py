"""Which architecture a checkpoint is of, from the names and shapes of its tensors. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.core.fingerprint import fingerprint
from zoo.core.known_architectures import known_with_fingerprint, task_layers
from zoo.core.registry import names_with_fingerprint


def architectures_of(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """The architectures whose tensors have exactly these names and shapes, whatever the channels and classes.

    Several where architectures differ in their mathematics only; none for tensors of a foreign layout.
    """
    found: list[str] = []
    for input_layers, classifier in sorted(task_layers()):
        if input_layers and all(f"{layer}.weight" in shapes for layer in input_layers):
            digest = fingerprint(shapes, input_layers, classifier)
            found += [*names_with_fingerprint(digest), *known_with_fingerprint(digest)]
    return list(dict.fromkeys(found))
