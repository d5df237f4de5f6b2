"""The rules for tensors that depend on the image or patch size, by the names under which families choose them.

Which tensors of which family follow which rule is timm 1.0.31's, measured by building its models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

from zoo.core.architectures.family_facts import size_facts
from zoo.core.errors import UsageError
from zoo.core.resize.absolute import (
    blocks,
    channels_first_map,
    channels_last_map,
    overlapping_map,
    pool_tokens,
    scaled_tokens,
    size_of_map,
    size_of_tokens,
    tokens,
    tokens_if_sized,
)
from zoo.core.resize.positions import ANTIALIASED
from zoo.core.resize.relative import (
    global_table,
    partition_table,
    quarterly_axis,
    relative_axis,
    size_of_global_table,
    stage_table,
    window_table,
    windowed_offsets,
)
from zoo.core.resize.resample import Filter
from zoo.core.resize.rule import Resize, Rule, Size, Tensor

# ---------------------------------------------------------------- what cannot be resized


def refuse(tensor: Tensor) -> Resize | None:
    """A tensor that depends on the size; how to resize it, neither timm nor its paper says."""
    if tensor.job.is_same_size:
        return None
    raise tensor.refused("no rule is known for tensors of its kind")


def token_mixing(tensor: Tensor) -> Resize | None:
    """A weight for every pair of patches, so the number of patches is fixed."""
    if tensor.job.is_same_size:
        return None
    raise tensor.refused("a layer that mixes patches has weights for each of them")


def whole_map_axis(tensor: Tensor) -> Resize | None:
    """BoTNet: (2n - 1, D) over the whole map; HaloNet's of the same name belong to blocks of a fixed size."""
    layer = tensor.name.partition(".pos_embed.")[0]
    return None if f"{layer}.kv.weight" in tensor.job.shapes else refuse(tensor)


# ---------------------------------------------------------------- by name

RULES: Mapping[str, Callable[..., Resize | None]] = {
    rule.__name__: rule
    for rule in (
        blocks, channels_first_map, channels_last_map, global_table, overlapping_map, partition_table, pool_tokens,
        quarterly_axis, refuse, relative_axis, scaled_tokens, stage_table, token_mixing, tokens, tokens_if_sized,
        whole_map_axis, window_table, windowed_offsets,
    )
}  # fmt: skip

SIZES: Mapping[str, Callable[..., Size]] = {
    "channels_last_map": size_of_map,
    "global_table": size_of_global_table,
    "tokens": size_of_tokens,
}
"""Rule -> what tells the image size from a tensor that follows it."""

_OF_RESIZING = frozenset(("as_reference",))
"""Arguments that make no difference to the size."""


def rules_of(family: str) -> list[tuple[str, Rule]]:
    """Tensors of a family, by a pattern of their whole names, and the rule for each; none where none has a size."""
    return [(one.names, partial(RULES[one.rule], **dict(one.arguments))) for one in size_facts(family).tensors]


def sizes_of_tensors(family: str) -> list[tuple[str, Callable[[Tensor], Size]]]:
    """Tensors of a family, by a pattern of their whole names, each of which tells the image size, and how."""
    return [
        (one.names, partial(SIZES[one.rule], **_without(one.arguments, _OF_RESIZING)))
        for one in size_facts(family).tensors
        if one.tells_size
    ]


def _without(arguments: tuple[tuple[str, Any], ...], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in arguments if name not in names}


def depends_on_size(family: str) -> bool:
    """Whether weights of this family are for one image size."""
    facts = size_facts(family)
    return bool(facts.tensors or facts.patch_kernel)


def require_size_dependent(family: str, architecture: str) -> None:
    """Raises UsageError where a source size is said of an architecture whose weights have none."""
    if not depends_on_size(family):
        raise UsageError(
            f"The weights of {architecture} do not depend on the image size.", hint="Leave out --source-size."
        )


def token_filter(family: str, architecture: str) -> Filter:
    """How token embeddings are resampled."""
    named = (filter_ for part, filter_ in size_facts(family).filters if part in architecture)
    return _FILTERS[next(named, ANTIALIASED)]


_FILTERS: Mapping[str, Filter] = {filter_: filter_ for filter_ in get_args(Filter)}
