"""Which tensors of which family depend on the image or patch size: timm 1.0.31, measured by building its models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from zoo.core.errors import UsageError
from zoo.core.resize.absolute import (
    blocks,
    channels_first_map,
    channels_last_map,
    overlapping_map,
    pool_tokens,
    size_of_map,
    size_of_tokens,
    tokens,
    tokens_if_sized,
    two_scale_tokens,
)
from zoo.core.resize.positions import ANTIALIASED
from zoo.core.resize.relative import (
    global_table,
    partition_table,
    relative_axis,
    sam_axis,
    size_of_global_table,
    stage_table,
    swin_table,
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
    """MLP-Mixers: a weight for every pair of patches, so the number of patches is fixed."""
    if tensor.job.is_same_size:
        return None
    raise tensor.refused("a layer that mixes patches has weights for each of them")


def whole_map_axis(tensor: Tensor) -> Resize | None:
    """BoTNet: (2n - 1, D) over the whole map; HaloNet's of the same name belong to blocks of a fixed size."""
    layer = tensor.name.partition(".pos_embed.")[0]
    return None if f"{layer}.kv.weight" in tensor.job.shapes else refuse(tensor)


# ---------------------------------------------------------------- families

TABLE = r"relative_position_bias_table"

tokens_not_in_timm = partial(tokens, as_reference=False)

RULES: dict[str, tuple[tuple[str, Rule], ...]] = {
    "beit": (("pos_embed", tokens), (rf"(.+\.)?{TABLE}", global_table)),
    "byoanet": (
        (r".+\.self_attn\.pos_embed\.(height|width)_rel", whole_map_axis),
        (r".+\.self_attn\.pos_emb", refuse),  # LambdaNetworks
    ),
    "byobnet": ((r"head\.pos_embed", pool_tokens),),
    "cait": (("pos_embed", tokens_not_in_timm),),
    "convit": (("pos_embed", tokens_not_in_timm),),
    "crossvit": (("pos_embed_[01]", two_scale_tokens),),
    "deit": (("pos_embed", tokens),),
    "efficientformer": ((r".+\.attention_biases", refuse),),
    "efficientformer_v2": ((r".+\.attention_biases", refuse),),
    "efficientvit_msra": ((r"stages\.\d\..+\.attention_biases", windowed_offsets),),
    "eva": (("pos_embed", tokens),),
    "gcvit": ((rf".+\.{TABLE}", refuse),),
    "hiera": (("pos_embed", tokens_if_sized),),
    "levit": ((r".+\.attention_biases", refuse),),
    "maxxvit": (
        (rf".+\.attn_(block|grid)\..+\.{TABLE}", partition_table),
        (rf"stages\.\d\.blocks\.\d+\.attn\..+\.{TABLE}", stage_table),
    ),
    "mlp_mixer": ((r".+\.(mlp_tokens\.fc[12]|linear_tokens|gate\.proj)\.weight", token_mixing),),
    "mvitv2": (("pos_embed", tokens_not_in_timm), (r".+\.rel_pos_[hw]", relative_axis)),
    "nest": ((r"levels\.\d\.pos_embed", blocks),),
    "pit": (("pos_embed", overlapping_map),),
    "swin_transformer": ((rf"layers\.\d\..+\.{TABLE}", swin_table),),
    "tnt": (("patch_pos", partial(tokens, stride=16)),),
    "vision_transformer": (("pos_embed", tokens),),
    "vision_transformer_hybrid": (("pos_embed", tokens),),
    "vision_transformer_relpos": ((rf"(.+\.)?{TABLE}", global_table),),
    "vision_transformer_sam": (
        ("pos_embed", partial(channels_last_map, as_reference=True)),
        (r"blocks\.\d{1,4}\.attn\.rel_pos_[hw]", sam_axis),
    ),
    "visformer": ((r"pos_embed\d", channels_first_map),),
    "vitamin": (("pos_embed", partial(tokens, stride=16)),),
    "volo": (("pos_embed", channels_last_map),),
}
"""Family (the name of timm's module) -> tensors, by a pattern of their whole names, and the rule for each.

A family that is not here has no such tensors.
"""

SIZES: dict[str, tuple[tuple[str, Callable[[Tensor], Size]], ...]] = {
    "beit": (("pos_embed", size_of_tokens), (rf"(.+\.)?{TABLE}", size_of_global_table)),
    **dict.fromkeys(("cait", "convit", "deit", "eva", "vision_transformer"), (("pos_embed", size_of_tokens),)),
    "tnt": (("patch_pos", partial(size_of_tokens, stride=16)),),
    "vision_transformer_relpos": ((rf"(.+\.)?{TABLE}", size_of_global_table),),
    "vision_transformer_sam": (("pos_embed", size_of_map),),
    "vitamin": (("pos_embed", partial(size_of_tokens, stride=16)),),
    "volo": (("pos_embed", size_of_map),),
}
"""Family -> tensors, by a pattern of their whole names, each of which tells the image size, and how."""

PATCH_KERNELS = {
    "beit": "patch_embed.proj.weight",
    "cait": "patch_embed.proj.weight",
    "convit": "patch_embed.proj.weight",
    "deit": "patch_embed.proj.weight",
    "eva": "patch_embed.proj.weight",
    "naflexvit": "embeds.proj.weight",
    "swin_transformer": "patch_embed.proj.weight",
    "swin_transformer_v2": "patch_embed.proj.weight",
    "vision_transformer": "patch_embed.proj.weight",
    "vision_transformer_relpos": "patch_embed.proj.weight",
    "vision_transformer_sam": "patch_embed.proj.weight",
}
"""Family -> the weight whose kernel is the patch, where timm takes a patch size: the grid is image / patch."""


def depends_on_size(family: str) -> bool:
    """Whether weights of this family are for one image size."""
    return family in RULES or family in PATCH_KERNELS


def require_size_dependent(family: str, architecture: str) -> None:
    """Raises UsageError where a source size is said of an architecture whose weights have none."""
    if not depends_on_size(family):
        raise UsageError(
            f"The weights of {architecture} do not depend on the size of its images.", hint="Leave out --source-size."
        )


PATCHES_RESIZED_BY_TIMM = frozenset(
    {"beit", "deit", "eva", "swin_transformer", "swin_transformer_v2", "vision_transformer"}
)

CORNERS_ALIGNED = ("base_patch16_radio_v3", "huge_patch16_radio_v3")


def token_filter(family: str, architecture: str) -> Filter:
    """How token embeddings are resampled. FlexiViT and RADIO were trained with bilinear resizing: timm follows them."""
    if family != "vision_transformer" or not any(name in architecture for name in ("flexi", "radio")):
        return ANTIALIASED
    return "linear, corners aligned" if any(name in architecture for name in CORNERS_ALIGNED) else "linear"
