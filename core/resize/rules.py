"""The rules for tensors that depend on the image or patch size, by the names that families select them with.

Which tensors follow which rule was measured by building the models of timm 1.0.31.
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

# ---------------------------------------------------------------- tensors that cannot be resized


def refuse(tensor: Tensor) -> Resize | None:
    """A tensor that depends on the size in a way that neither timm nor its paper says how to resize."""
    if tensor.job.is_same_size:
        return None
    raise tensor.refused("no rule is known for tensors of its kind")


def token_mixing(tensor: Tensor) -> Resize | None:
    """A weight for every pair of patches, so the number of patches is fixed."""
    if tensor.job.is_same_size:
        return None
    raise tensor.refused("a layer that mixes patches has weights for each of them")


def whole_map_axis(tensor: Tensor) -> Resize | None:
    """BoTNet: (2n - 1, D) over the whole map. HaloNet's tensors of the same name belong to blocks of a fixed size."""
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
"""Rule -> the function that gets the image size from a tensor."""

_OF_RESIZING = frozenset(("as_reference",))
"""Arguments that do not affect the size."""


def rules_of(family: str) -> list[tuple[str, Rule]]:
    """A pattern of full names of a family's tensors, with the rule for each; empty if none depends on the size."""
    return [(one.names, partial(RULES[one.rule], **dict(one.arguments))) for one in size_facts(family).tensors]


def sizes_of_tensors(family: str) -> list[tuple[str, Callable[[Tensor], Size]]]:
    """A pattern of full names of a family's tensors that reveal the image size, with the function that gets it."""
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
    """Raise UsageError if a source size is given for an architecture whose weights do not depend on it."""
    if not depends_on_size(family):
        raise UsageError(
            f"The weights of {architecture} do not depend on the image size.", hint="Leave out --source-size."
        )


def token_filter(family: str, architecture: str) -> Filter:
    """The filter that resamples token embeddings."""
    named = (filter_ for part, filter_ in size_facts(family).filters if part in architecture)
    return _FILTERS[next(named, ANTIALIASED)]


_FILTERS: Mapping[str, Filter] = {filter_: filter_ for filter_ in get_args(Filter)}
