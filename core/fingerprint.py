"""Which architecture a set of tensors belongs to, from names and shapes alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence


def fingerprint(shapes: Mapping[str, Sequence[int]], left_out: Iterable[str]) -> str:
    """Short digest of the names and shapes that every checkpoint of an architecture has.

    Args:
        shapes: state-dict key -> shape.
        left_out: module paths whose tensors depend on the task: input layers and classifier. Batch counters, which
            old checkpoints lack, are left out too.
    """
    prefixes = tuple(f"{path}." for path in left_out)
    lines = (
        f"{key} {'x'.join(map(str, shape))}\n"
        for key, shape in shapes.items()
        if not key.startswith(prefixes) and not key.endswith("num_batches_tracked")
    )
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]
