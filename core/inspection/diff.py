"""The differences between two checkpoints in names, shapes, dtypes and values, with explanations. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from itertools import islice
from math import isfinite
from typing import NamedTuple

from zoo.core.errors import UsageError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.inspection.difference import TensorDifference, tensor_difference

KINDS = ("only in A", "only in B", "shape", "dtype", "values")
_MAX_PREFIX_PARTS = 16


class Checkpoint(NamedTuple):
    """One side of a comparison: its tensors by name, its metadata, and the prefix that the reader removed."""

    path: str
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]
    prefix: str = ""


class Pair(NamedTuple):
    """A tensor that differs, as it is in A and in B; None on the side that lacks it. The name has no side's prefix.

    `difference` is known if both have the same shape. `explanation` is text, '' if there is none.
    """

    name: str
    a: StoredTensor | None
    b: StoredTensor | None
    difference: TensorDifference | None = None
    explanation: str = ""

    @property
    def kind(self) -> str:
        """One of KINDS, the first that applies."""
        if self.a is None or self.b is None:
            return "only in A" if self.b is None else "only in B"
        if self.a.shape != self.b.shape:
            return "shape"
        return "values" if self.a.dtype == self.b.dtype else "dtype"


class DiffReport(NamedTuple):
    """What differs. `prefix_a` and `prefix_b` precede all names of that side, but not the other side's."""

    path_a: str
    path_b: str
    num_equal: int
    pairs: tuple[Pair, ...]
    prefix_a: str = ""
    prefix_b: str = ""

    @property
    def is_equal(self) -> bool:
        return not (self.pairs or self.prefix_a or self.prefix_b)

    @property
    def is_explained(self) -> bool:
        """Whether every difference has an explanation."""
        return all(pair.explanation for pair in self.pairs)

    def counts(self) -> dict[str, int]:
        """The number of tensors per kind of difference."""
        found = Counter(pair.kind for pair in self.pairs)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def explanations(self) -> dict[str, int]:
        """Each explanation with its number of tensors, in order."""
        return dict(Counter(pair.explanation for pair in self.pairs if pair.explanation))


def diff_weights(a: Checkpoint, b: Checkpoint, tolerance: float = 0.0) -> DiffReport:
    """Compare two checkpoints, in the order of A's tensors and then of B's.

    Args:
        a, b: open files.
        tolerance: two tensors are equal if no element differs by more. With 0, dtypes and all bits must be the same;
            above 0, dtypes may differ.

    Raises:
        UsageError: an invalid tolerance.
        InvalidInputError: a file became shorter.
    """
    if not (isfinite(tolerance) and tolerance >= 0):
        raise UsageError(f"A tolerance is a number from 0 up, found {tolerance:g}.")
    prefix_a, prefix_b = _prefixes(a.tensors.keys(), b.tensors.keys())
    tensors_a = {name.removeprefix(prefix_a): tensor for name, tensor in a.tensors.items()}
    tensors_b = {name.removeprefix(prefix_b): tensor for name, tensor in b.tensors.items()}
    names = dict.fromkeys((*tensors_a, *tensors_b))
    compared = (_compare(name, tensors_a.get(name), tensors_b.get(name)) for name in names)
    pairs = [pair for pair in compared if not (pair.difference and pair.difference.is_within(tolerance))]
    if pairs:
        from zoo.core.inspection.explain import explain

        sides = (a._replace(tensors=tensors_a), b._replace(tensors=tensors_b))
        pairs = explain(pairs, *sides)
    prefix_a, prefix_b = a.prefix + prefix_a, b.prefix + prefix_b
    same_prefix = prefix_a == prefix_b
    return DiffReport(
        path_a=a.path,
        path_b=b.path,
        num_equal=len(names) - len(pairs),
        pairs=tuple(pairs),
        prefix_a="" if same_prefix else prefix_a,
        prefix_b="" if same_prefix else prefix_b,
    )


def _compare(name: str, a: StoredTensor | None, b: StoredTensor | None) -> Pair:
    comparable = a is not None and b is not None and a.shape == b.shape
    return Pair(name, a, b, tensor_difference(a, b) if comparable and a and b else None)


# ---------------------------------------------------------------- prefixes


def _prefixes(a: Set[str], b: Set[str]) -> tuple[str, str]:
    """The prefix of all names of one side, on the side where removing it yields more names in common."""
    in_common = len(a & b)
    prefix_a, found_a = _best_prefix(a, b, in_common)
    prefix_b, found_b = _best_prefix(b, a, in_common)
    if max(found_a, found_b) == in_common:
        return "", ""
    return (prefix_a, "") if found_a >= found_b else ("", prefix_b)


def _best_prefix(names: Set[str], others: Set[str], in_common: int) -> tuple[str, int]:
    """The prefix of all `names` whose removal puts most of them among `others`, and how many that are."""
    first = next(iter(names), "")
    ends = (i + 1 for i, character in enumerate(first) if character == ".")
    best = ("", in_common)
    for end in islice(ends, _MAX_PREFIX_PARTS):
        prefix = first[:end]
        if not all(name.startswith(prefix) for name in names):
            break
        found = sum(name[end:] in others for name in names)
        best = max(best, (prefix, found), key=lambda candidate: candidate[1])
    return best
