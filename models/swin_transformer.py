"""Swin Transformer: attention within windows, which are shifted in every second block.

Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows (arXiv:2103.14030); the S3 variants
are of Chen et al., Searching the Search Space of Vision Transformer (arXiv:2111.14725). Maps are (N, H, W, C) inside
the trunk and (N, C, H, W) outside of it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.swin_transformer import SwinTransformerSpec
from zoo.models.base import ImageModel, Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention import Attention
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.patch_embed import PatchEmbed, as_pair
from zoo.models.layers.relative_position import RelativePositionTable
from zoo.models.layers.token_init import init_linear
from zoo.models.layers.transformer_block import BlockStyle, TransformerBlock
from zoo.models.layers.window import attend_in_windows, fill_windows, padded_size, shifted_window_mask

__getattr__ = family_attributes("swin_transformer")


class WindowAttention(RelativePositionTable, Attention):
    """Self-attention within windows (height, width), with a learned bias for each offset between two cells."""

    def __init__(self, channels: int, num_heads: int, *, window: Size, **options: Any) -> None:
        Attention.__init__(self, channels, num_heads, **options)
        self.make_table(window, num_heads)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Windows (N * windows, cells, C) -> the same; `mask` (windows, cells, cells) is added to the scores."""
        bias = self.position_bias().unsqueeze(0)
        if mask is not None:
            bias = (bias + mask.unsqueeze(1)).repeat(x.shape[0] // mask.shape[0], 1, 1, 1)
        return super().forward(x, bias)


class SwinTransformerBlock(TransformerBlock):
    """Attention within windows and a perceptron, each on the normed map (N, H, W, C) and with a shortcut.

    Args:
        style: of the stage.
        drop_path: rate of stochastic depth.
        size: the map's (height, width), at which the windows are laid out.
        window, shift: (height, width) that are wanted. A window is cut to the map, and where it fills an axis, nothing
            is shifted along it.
        always_partition: do neither.
        any_size: maps may have other sizes; the windows stay.
        attention: options of the attention that are the family's own.
    """

    attention_class: ClassVar[type[nn.Module]] = WindowAttention
    attn_mask: Tensor | None

    def __init__(
        self,
        style: BlockStyle,
        drop_path: float,
        *,
        size: Size,
        window: Size,
        shift: Size,
        always_partition: bool,
        any_size: bool,
        **attention: Any,
    ) -> None:
        if not always_partition:
            window = min(size[0], window[0]), min(size[1], window[1])
            shift = shift[0] if size[0] > window[0] else 0, shift[1] if size[1] > window[1] else 0
        super().__init__(style, drop_path, attn=partial(self.attention_class, window=window, **attention))
        self.window_size, self.shift_size, self.any_size = window, shift, any_size
        mask = None if any_size or not any(shift) else shifted_window_mask(padded_size(size, window), window, shift)
        self.register_buffer("attn_mask", mask, persistent=False)

    def attend(self, x: Tensor, *_: Tensor | None) -> Tensor:
        down, right = self.shift_size
        mask = self._mask(x)
        if down or right:
            x = x.roll((-down, -right), (1, 2))
        x = attend_in_windows(x, self.window_size, partial(self.attn, mask=mask))
        return x.roll((down, right), (1, 2)) if down or right else x

    def _mask(self, x: Tensor) -> Tensor | None:
        if self.any_size and any(self.shift_size):
            padded = padded_size((x.shape[1], x.shape[2]), self.window_size)
            return shifted_window_mask(padded, self.window_size, self.shift_size, x.device).to(x.dtype)
        return self.attn_mask


class PatchMerging(nn.Module):
    """(N, H, W, C) -> (N, H / 2, W / 2, 2 C): the channels of four neighbours side by side, normed and reduced."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # The neighbours in the order of columns.
        x = fill_windows(x, (2, 2)).unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.merge(x)

    def merge(self, x: Tensor) -> Tensor:
        """(..., 4 C) -> (..., 2 C)."""
        return self.reduction(self.norm(x))


class SwinTransformer(ImageModel):
    """Patch embedding, stages `layers`, norm, pooling, classifier `head.fc`.

    Args:
        spec: the variant, with the size of the images; windows are cut to the maps that it gives.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        dynamic_img_size: take images of any size that is a multiple of the patch.
        always_partition: windows keep their size, and are shifted, where a map is smaller.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
        proj_drop_rate, attn_drop_rate: dropout within the blocks and of the attention weights.
        drop_path_rate: stochastic depth of the last block; by default the family's.
    """

    trunk: ClassVar[str] = "layers"
    """Module path of the stages."""
    block_class: ClassVar[type[SwinTransformerBlock]] = SwinTransformerBlock
    merging_class: ClassVar[type[nn.Module]] = PatchMerging
    default_drop_path_rate: ClassVar[float] = 0.1

    def __init__(
        self,
        spec: SwinTransformerSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        dynamic_img_size: bool = False,
        always_partition: bool = False,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float | None = None,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        self.img_size = as_pair(spec.img_size)
        self.patch_embed = PatchEmbed(
            self.img_size,
            spec.patch_size,
            in_chans,
            spec.embed_dim,
            norm=nn.LayerNorm,
            layout="NHWC",
            any_size=dynamic_img_size,
        )
        layers = {"norm": nn.LayerNorm, "attn_drop": attn_drop_rate, "proj_drop": proj_drop_rate}
        drop_path_rate = self.default_drop_path_rate if drop_path_rate is None else drop_path_rate
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        trunk = nn.Sequential()
        self.add_module(self.trunk, trunk)
        windows = []
        self.feature_info = []
        channels, size, reduction = spec.embed_dim, self.patch_embed.grid_size, spec.patch_size
        stages = zip(spec.depths, spec.num_heads, spec.stage_windows, strict=True)
        for index, (depth, num_heads, window) in enumerate(stages):
            downsample: nn.Module = nn.Identity()
            if index:
                downsample = self.merging_class(channels)
                channels, size, reduction = 2 * channels, ((size[0] + 1) // 2, (size[1] + 1) // 2), 2 * reduction
            style = BlockStyle.of(spec, embed_dim=channels, num_heads=num_heads, **layers)
            blocks = [
                self.block_class(
                    style,
                    next(rates),
                    size=size,
                    window=window,
                    shift=(window[0] // 2, window[1] // 2) if position % 2 else (0, 0),
                    always_partition=always_partition,
                    any_size=dynamic_img_size,
                    **self.block_options(index, position),
                )
                for position in range(depth)
            ]
            windows.append(blocks[0].window_size)
            parts = {"downsample": downsample, "blocks": nn.Sequential(*blocks)}
            trunk.append(nn.Sequential(OrderedDict(parts)))
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"{self.trunk}.{index}"})
        self.windows = tuple(windows)
        self.num_features = channels
        self.norm = self.make_norm()
        self.make_head(global_pool)

    def sizes_for(self, sizes: dict[str, Any]) -> dict[str, Any]:
        """Windows keep their share of the map, or get the share of it that `window_ratio` says."""
        spec, ratio = self.spec, sizes.pop("window_ratio", None)
        if "window_size" in sizes:
            return sizes
        image, patch = (as_pair(sizes.get(name, getattr(spec, name))) for name in ("img_size", "patch_size"))
        grid, old_grid = (image[0] // patch[0], image[1] // patch[1]), self.patch_embed.grid_size
        axes = range(2)
        windows = [
            tuple(grid[a] // ratio if ratio else max(1, window[a] * grid[a] // old_grid[a]) for a in axes)
            for window in spec.stage_windows
        ]
        return {**sizes, "window_size": tuple(windows)}

    def block_options(self, stage: int, position: int) -> dict[str, Any]:  # noqa: ARG002 - families decide by them
        """What blocks of a family of its own take besides."""
        return {}

    def make_norm(self) -> nn.Module:
        """The norm behind the last stage."""
        return nn.LayerNorm(self.num_features)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "patch_embed", self.patch_embed
        for index, stage in enumerate(self.get_submodule(self.trunk).children()):
            yield f"{self.trunk}.{index}", stage

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x).permute(0, 3, 1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - the map has its own
        return x.permute(0, 3, 1, 2).contiguous()

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)


def unused_keys(keys: Collection[str], model: SwinTransformer) -> set[str]:  # noqa: ARG001
    """What follows from the sizes of image and window."""
    return {key for key in keys if key.endswith(("relative_position_index", "attn_mask"))}


def repair_keys(state_dict: Mapping[str, Tensor], model: SwinTransformer) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files, where the stage before counts the downsampling as its own."""
    theirs = "layers.0.downsample.reduction.weight" in state_dict
    repaired = {}
    for key, value in state_dict.items():
        if theirs:
            key = re.sub(r"^layers\.(\d+)\.downsample", lambda stage: f"layers.{int(stage[1]) + 1}.downsample", key)
            key = re.sub(r"^head\.", "head.fc.", key)
        repaired[key] = value
    return repaired
