"""A digest of tensor names and shapes that identifies an architecture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence


def fingerprint(shapes: Mapping[str, Sequence[int]], input_layers: Iterable[str], classifier: Iterable[str]) -> str:
    """Short digest of the names and shapes that all checkpoints of an architecture share.

    Args:
        shapes: state-dict key -> shape.
        input_layers: module paths; the second axis of their weights, the input channels, is ignored.
        classifier: module paths whose tensors are ignored, since they depend on the task. Batch counters are ignored
            too, since old checkpoints lack them.
    """
    inputs = {f"{path}.weight" for path in input_layers}
    heads = tuple(f"{path}." for path in classifier)
    lines = []
    for key, shape in shapes.items():
        if key.startswith(heads) or key.endswith("num_batches_tracked"):
            continue
        sizes = [str(size) for size in shape]
        if key in inputs and len(sizes) > 1:
            sizes[1] = "C"
        lines.append(f"{key} {'x'.join(sizes)}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]
