"""Which of a model's feature levels are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.core.errors import UsageError


def resolve_indices(num_levels: int, indices: int | Sequence[int] | None) -> list[int]:
    """Feature indices as non-negative numbers: None is all, an int the last n, negative ones count from the end.

    Raises UsageError for an index outside the model's levels.
    """
    if indices is None:
        return list(range(num_levels))
    if isinstance(indices, int):
        indices = range(num_levels - indices, num_levels) if 0 < indices <= num_levels else [num_levels + indices]
    resolved = [i + num_levels if i < 0 else i for i in indices]
    if not resolved or any(not 0 <= i < num_levels for i in resolved):
        raise UsageError(
            f"Feature indices must lie in 0..{num_levels - 1} (or -{num_levels}..-1), found {list(indices)}.",
            hint="`zoo info NAME` lists a model's levels.",
        )
    return resolved
