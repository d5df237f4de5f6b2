"""Which architecture a set of tensors belongs to, from names and shapes alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence


def fingerprint(shapes: Mapping[str, Sequence[int]], input_layers: Iterable[str], classifier: Iterable[str]) -> str:
    """Short digest of the names and shapes that every checkpoint of an architecture has.

    Args:
        shapes: state-dict key -> shape.
        input_layers: module paths; of their weights the second axis, the input channels, does not count.
        classifier: module paths whose tensors do not count, as they depend on the task. Nor do batch counters, which
            old checkpoints lack.
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
