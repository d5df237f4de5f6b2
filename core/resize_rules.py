"""How each family's tensors depend on the image size. The facts are timm 1.0.31's, measured by building its models.

A rule takes one tensor of a checkpoint and says how it is resized (None: it stays), or raises. Rules that timm's loader
(or, where noted, its forward pass) has too are marked so; the others take timm's rule for tensors of the same kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.core.errors import InvalidInputError
from zoo.core.resize_positions import (
    bias_rows,
    resize_bias_table,
    resize_blocks,
    resize_grid,
    resize_offset_biases,
    resize_relative_axis,
    resize_tokens,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Function = Callable[[NDArray[Any]], NDArray[Any]]

Size = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Resize:
    """What happens to one tensor."""

    old_shape: Shape
    new_shape: Shape
    method: str
    """In words, for reports."""
    as_reference: bool = True
    """Whether timm resizes this tensor too; if not, its rule for tensors of the same kind is used."""
    function: Function

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """The tensor for the new size: float16, float32 or float64 of `old_shape` -> the same dtype, `new_shape`."""
        if array.shape != self.old_shape:
            raise InvalidInputError(f"Expected a tensor of shape {self.old_shape} to resize, found {array.shape}.")
        return self.function(array)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A checkpoint and the sizes that it is taken from and to, each (height, width) in pixels."""

    architecture: str
    shapes: Mapping[str, Shape]
    source: Size
    target: Size
    old_patch: Size | None
    """Kernel of the patch embedding, for families whose grid follows from it."""
    new_patch: Size | None


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor whose shape may depend on the size."""

    name: str
    shape: Shape
    job: Job

    def refused(self, reason: str) -> InvalidInputError:
        """The error that says why this tensor cannot be resized."""
        job = self.job
        return InvalidInputError(
            f"Cannot resize {self.name} of shape {self.shape} from {text(job.source)} to {text(job.target)}: {reason}.",
            hint="Leave out --img-size and --patch-size to keep the sizes that the weights were made for.",
        )

    def to(self, new_shape: Shape, method: str, function: Function, as_reference: bool = True) -> Resize | None:
        """A Resize of this tensor, None where nothing would change."""
        if new_shape == self.shape:
            return None
        return Resize(
            old_shape=self.shape, new_shape=new_shape, method=method, function=function, as_reference=as_reference
        )


Rule = Callable[[Tensor], Resize | None]

BICUBIC = "bicubic, antialiased"
GEOMETRIC = "linear, positions spaced geometrically"


def text(size: Size) -> str:
    """A size as people write it."""
    return f"{size[0]} x {size[1]}"


# ---------------------------------------------------------------- grids


def divide(size: Size, step: int | Size) -> Size:
    """How many whole steps fit on each side."""
    height, width = (step, step) if isinstance(step, int) else step
    return size[0] // height, size[1] // width


def _halved(size: Size, times: int) -> Size:
    """The map after `times` layers of stride 2 that pad: sides are rounded up."""
    return -(-size[0] // 2**times), -(-size[1] // 2**times)


def _nonempty(tensor: Tensor, grid: Size) -> Size:
    if min(grid) < 1:
        raise tensor.refused("the image is smaller than one cell")
    return grid


def _strided(tensor: Tensor, old: Size) -> Size:
    """The new grid where cells have a whole number of pixels, which the old grid and the source's size tell."""
    job = tensor.job
    stride = job.source[0] // old[0] if min(old) else 0
    if (old[0] * stride, old[1] * stride) != job.source:
        raise tensor.refused(f"its grid of {text(old)} does not divide the source's size")
    new = _nonempty(tensor, divide(job.target, stride))
    if (new[0] * stride, new[1] * stride) != job.target:
        raise tensor.refused(f"the image size must be a multiple of {stride}")
    return new


def _patch_grids(tensor: Tensor) -> tuple[Size, Size]:
    """Grid of patches before and after, for families whose stem is the patch embedding."""
    job = tensor.job
    if job.old_patch is None or job.new_patch is None:
        raise tensor.refused("the file has no patch embedding to tell the grid")
    return divide(job.source, job.old_patch), _nonempty(tensor, divide(job.target, job.new_patch))


def _square(area: int) -> Size | None:
    edge = math.isqrt(area) if area > 0 else 0
    return (edge, edge) if edge and edge * edge == area else None


# ---------------------------------------------------------------- absolute position embeddings


def _num_prefix_tokens(shapes: Mapping[str, Shape]) -> int:
    found = (shapes.get(name, ()) for name in ("cls_token", "dist_token", "reg_token"))
    return sum(shape[1] for shape in found if len(shape) == 3)


def _token_grid(tensor: Tensor) -> Size:
    """Grid of an embedding (1, prefix + area, D): the one of the source's size, else a square, as timm assumes."""
    count, prefix = tensor.shape[1], _num_prefix_tokens(tensor.job.shapes)
    if tensor.job.old_patch:
        grid = divide(tensor.job.source, tensor.job.old_patch)
        if min(grid) > 0 and 0 <= count - math.prod(grid) <= prefix:
            return grid
    else:
        height, width = tensor.job.source
        for area in (count - prefix, count):
            # Cells are square: the side of one is the root of pixels / cells.
            stride = math.isqrt(height * width // area) if area > 0 else 0
            if stride and (height // stride) * (width // stride) == area:
                return height // stride, width // stride
    square = _square(count - prefix) or _square(count)
    if square is None:
        raise tensor.refused("it does not fit the source's size")
    return square


def tokens(tensor: Tensor, as_reference: bool = True) -> Resize | None:
    """(1, prefix + H * W, D): prefix tokens are kept."""
    if len(tensor.shape) != 3:
        return None
    old = _token_grid(tensor)
    new = _patch_grids(tensor)[1] if tensor.job.old_patch else _strided(tensor, old)
    return _resized_tokens(tensor, old, new, as_reference)


def _resized_tokens(tensor: Tensor, old: Size, new: Size, as_reference: bool) -> Resize | None:
    if old == new:
        return None
    batch, count, width = tensor.shape
    shape = (batch, count - math.prod(old) + math.prod(new), width)
    function = partial(resize_tokens, old=old, new=new)
    # The shape alone does not tell: 14 x 14 and 28 x 7 have as many tokens.
    return Resize(old_shape=tensor.shape, new_shape=shape, method=BICUBIC, function=function, as_reference=as_reference)


def channels_last_map(tensor: Tensor, as_reference: bool = False) -> Resize | None:
    """(1, H, W, D)"""
    if len(tensor.shape) != 4:
        return None
    batch, height, width, channels = tensor.shape
    new = _patch_grids(tensor)[1] if tensor.job.old_patch else _strided(tensor, (height, width))
    return tensor.to((batch, *new, channels), BICUBIC, partial(resize_grid, new=new, axes=(1, 2)), as_reference)


def channels_first_map(tensor: Tensor) -> Resize | None:
    """(1, D, H, W)"""
    return _resized_map(tensor, _strided(tensor, (tensor.shape[2], tensor.shape[3])))


def overlapping_map(tensor: Tensor) -> Resize | None:
    """PiT: (1, D, H, W), patches overlap by half."""
    kernel = tensor.job.shapes.get("patch_embed.conv.weight", ())
    if len(kernel) != 4 or kernel[2] < 2:
        raise tensor.refused("the file has no patch embedding to tell the grid")
    patch, stride = kernel[2], kernel[2] // 2
    height, width = tensor.job.target
    return _resized_map(tensor, _nonempty(tensor, ((height - patch) // stride + 1, (width - patch) // stride + 1)))


def _resized_map(tensor: Tensor, new: Size) -> Resize | None:
    function = partial(resize_grid, new=new, axes=(2, 3))
    return tensor.to((*tensor.shape[:2], *new), BICUBIC, function, as_reference=False)


def two_scale_tokens(tensor: Tensor) -> Resize | None:
    """CrossViT: (1, 1 + H * W, D) of a branch that sees the image at its own scale."""
    branch = tensor.name[-1]
    kernel = tensor.job.shapes.get(f"patch_embed.{branch}.proj.weight", ())
    old = _square(tensor.shape[1] - 1)
    if len(kernel) != 4 or not kernel[2] or old is None or tensor.job.source[0] != tensor.job.source[1]:
        raise tensor.refused("only square images and grids are known")
    patch, edge = kernel[2], tensor.job.source[0]
    # A branch's image is a fixed fraction of the input: 224/240 or 384/408 for the coarse one.
    scaled = [int(side * (old[0] * patch / edge)) for side in tensor.job.target]
    if any(side % patch for side in scaled):
        raise tensor.refused(f"the branch's image of {scaled[0]} x {scaled[1]} must be a multiple of {patch}")
    return _resized_tokens(tensor, old, _nonempty(tensor, (scaled[0] // patch, scaled[1] // patch)), False)


def blocks(tensor: Tensor) -> Resize | None:
    """NesT: (1, T, N, D), T blocks of N positions."""
    batch, count, positions, width = tensor.shape
    edge = math.isqrt(count)
    side = edge * math.isqrt(positions)
    if tensor.job.target[0] != tensor.job.target[1]:
        raise tensor.refused("only square images are known")
    new = _strided(tensor, (side, side))
    if new[0] % edge:
        raise tensor.refused(f"its map of {text(new)} does not divide into {edge} x {edge} blocks")
    new_positions = (new[0] // edge) ** 2
    function = partial(resize_blocks, new_tokens=new_positions)
    return tensor.to((batch, count, new_positions, width), "bicubic", function, as_reference=False)


# ---------------------------------------------------------------- relative positions


def _table(tensor: Tensor, old: Size, new: Size) -> Resize | None:
    """Bias table of a window: (rows, heads) or (heads, 2h - 1, 2w - 1)."""
    if len(tensor.shape) == 3:
        shape: Shape = (tensor.shape[0], 2 * new[0] - 1, 2 * new[1] - 1)
    else:
        shape = (tensor.shape[0] - bias_rows(old) + bias_rows(new), tensor.shape[1])
    if old == new:
        return None
    return Resize(
        old_shape=tensor.shape,
        new_shape=shape,
        method=GEOMETRIC,
        function=partial(resize_bias_table, old=old, new=new),
    )


def _window(tensor: Tensor, extra_rows: int = 0) -> Size | None:
    """The window that a table belongs to, square where the table is flat."""
    if len(tensor.shape) == 3:
        return (tensor.shape[1] + 1) // 2, (tensor.shape[2] + 1) // 2
    side = _square(tensor.shape[0] - extra_rows)
    return ((side[0] + 1) // 2, (side[1] + 1) // 2) if side and side[0] % 2 else None


CLASS_TOKEN_ROWS = 3
"""Class token to patch, patch to class token, class token to itself."""


def global_table(tensor: Tensor) -> Resize | None:
    """BEiT and relative-position ViTs: the window is the whole grid, the class token may have rows of its own."""
    old, new = _patch_grids(tensor)
    for extra in (CLASS_TOKEN_ROWS, 0):
        if tensor.shape[0] - extra == bias_rows(old):
            return _table(tensor, old, new)
        window = _window(tensor, extra)
        if window:
            return _table(tensor, window, new)
    raise tensor.refused("it does not fit the source's size")


def swin_table(tensor: Tensor) -> Resize | None:
    """Swin: windows keep their size, and are cut to a stage's map where that is smaller."""
    stage = _stage(tensor.name)
    old_grid, new_grid = _patch_grids(tensor)
    old_map, new_map = _halved(old_grid, stage), _halved(new_grid, stage)
    side = _swin_side(tensor, old_map)
    old, wanted = _cut(side, old_map), side
    # A window that fills its map may have been cut from the one that the other stages show.
    if side >= max(old_map) and not tensor.job.architecture.startswith(SWIN_WINDOWS_BY_STAGE):
        wanted = max(side, _swin_side_elsewhere(tensor, old_grid))
    return _table(tensor, old, _cut(wanted, new_map))


SWIN_WINDOWS_BY_STAGE = "swin_s3_"
"""Architectures whose stages have windows of different sizes by design."""

MAX_WINDOW = 128


def _stage(name: str) -> int:
    return int(name.split(".")[1])


def _cut(side: int, limit: Size) -> Size:
    return min(side, limit[0]), min(side, limit[1])


def _swin_side(tensor: Tensor, limit: Size) -> int:
    """Side of the smallest window that, cut to the map, has a table of this many rows."""
    for side in range(1, MAX_WINDOW):
        if bias_rows(_cut(side, limit)) == tensor.shape[0]:
            return side
    raise tensor.refused(f"no window on a map of {text(limit)} has a table of this shape")


def _swin_side_elsewhere(tensor: Tensor, grid: Size) -> int:
    """The largest window of the other stages, of those that do not fill their map; 0 if none."""
    found = [0]
    for name, shape in tensor.job.shapes.items():
        if re.fullmatch(r"layers\.\d+\.blocks\.0\.attn\.relative_position_bias_table", name):
            limit = _halved(grid, _stage(name))
            side = _swin_side(Tensor(name=name, shape=shape, job=tensor.job), limit)
            found += [side] if side < max(limit) else []
    return max(found)


def partition_table(tensor: Tensor) -> Resize | None:
    """MaxViT: windows and grids are 1/32 of the image."""
    old, new = divide(tensor.job.source, 32), _nonempty(tensor, divide(tensor.job.target, 32))
    if new[0] * 32 != tensor.job.target[0] or new[1] * 32 != tensor.job.target[1]:
        raise tensor.refused("the image size must be a multiple of 32")
    return _table(tensor, _checked_window(tensor, old), new)


def stage_table(tensor: Tensor) -> Resize | None:
    """CoAtNet: the window is the whole map of a stage, 1/4 of the image in the first."""
    halvings = _stage(tensor.name) + 1
    old, new = (_halved(divide(size, 2), halvings) for size in (tensor.job.source, tensor.job.target))
    return _table(tensor, _checked_window(tensor, old), _nonempty(tensor, new))


def _checked_window(tensor: Tensor, expected: Size) -> Size:
    """The expected window where the table has its shape, else the square one that it has."""
    height, width = expected
    if tensor.shape[:-1] == (bias_rows(expected),) or tensor.shape[1:] == (2 * height - 1, 2 * width - 1):
        return expected
    window = _window(tensor)
    if window is None:
        raise tensor.refused("it does not fit the source's size")
    return window


def windowed_offsets(tensor: Tensor) -> Resize | None:
    """EfficientViT (MSRA): (heads, N) for square windows of 7, cut to the map of a stage."""
    old = _square(tensor.shape[1])
    if old is None:
        raise tensor.refused("it is not that of a square window")
    # Two sides of an image have one window, that of the shorter side.
    side = _halved(divide((min(tensor.job.target),) * 2, 16), _stage(tensor.name))[0]
    window = min(7, side)
    function = partial(resize_offset_biases, old=old, new=(window, window))
    return tensor.to((tensor.shape[0], window * window), BICUBIC, function)


def relative_axis(tensor: Tensor) -> Resize | None:
    """MViTv2: (2n - 1, D) for one axis of n cells."""
    if tensor.job.target[0] != tensor.job.target[1]:
        raise tensor.refused("only square images are known")
    cells = (tensor.shape[0] + 1) // 2
    return _axis(tensor, _strided(tensor, (cells, cells))[0])


def sam_axis(tensor: Tensor) -> Resize | None:
    """SAM: (2n - 1, D) for one axis; n is the grid's in the last block of each quarter, a window's in the others.

    timm resizes these in its forward pass.
    """
    block = int(tensor.name.split(".")[1])
    depth = 1 + max(int(name.split(".")[1]) for name in tensor.job.shapes if name.startswith("blocks."))
    if depth < 4 or (block + 1) % (depth // 4):
        return None
    return _axis(tensor, _patch_grids(tensor)[1][tensor.name.endswith("rel_pos_w")])


def _axis(tensor: Tensor, cells: int) -> Resize | None:
    length = 2 * cells - 1
    return tensor.to((length, tensor.shape[1]), "linear", partial(resize_relative_axis, new=length))


# ---------------------------------------------------------------- what cannot be resized


def refuse(reason: str) -> Rule:
    """The rule for a tensor of which it is known that it depends on the size, and not how to resize it."""

    def rule(tensor: Tensor) -> Resize | None:
        if tensor.job.source == tensor.job.target and tensor.job.old_patch == tensor.job.new_patch:
            return None
        raise tensor.refused(reason)

    return rule


def token_mixing(tensor: Tensor) -> Resize | None:
    """MLP-Mixers: a weight for every pair of patches, so the number of patches is fixed."""
    old, new = _patch_grids(tensor)
    if old == new:
        return None
    raise tensor.refused("a layer that mixes patches has one weight for each of them")


def whole_map_attention(tensor: Tensor) -> Resize | None:
    """BoTNet: (2n - 1, D) over the whole map; HaloNet's, of the same name, belong to blocks of a fixed size."""
    layer = tensor.name.partition(".pos_embed.")[0]
    if f"{layer}.kv.weight" in tensor.job.shapes:
        return None
    raise tensor.refused("no rule is known for its relative positions")


# ---------------------------------------------------------------- families

NO_RULE = "no rule is known for its attention biases"
TABLE = r"(.+\.)?relative_position_bias_table"

own_tokens = partial(tokens, as_reference=False)

RULES: dict[str, tuple[tuple[str, Rule], ...]] = {
    "beit": (("pos_embed", tokens), (TABLE, global_table)),
    "byoanet": ((r".+\.self_attn\.pos_embed\.(height|width)_rel", whole_map_attention),),
    "cait": (("pos_embed", own_tokens),),
    "convit": (("pos_embed", own_tokens),),
    "crossvit": ((r"pos_embed_\d", two_scale_tokens),),
    "deit": (("pos_embed", tokens),),
    "efficientformer": ((r".+\.attention_biases", refuse(NO_RULE)),),
    "efficientformer_v2": ((r".+\.attention_biases", refuse(NO_RULE)),),
    "efficientvit_msra": ((r".+\.attention_biases", windowed_offsets),),
    "eva": (("pos_embed", tokens),),
    "gcvit": ((TABLE, refuse(NO_RULE)),),
    "hiera": (("pos_embed", own_tokens),),  # (1, D, H, W) is resized by the model itself
    "levit": ((r".+\.attention_biases", refuse(NO_RULE)),),
    "maxxvit": (
        (r".+\.attn_(block|grid)\..+_bias_table", partition_table),
        (r"stages\.\d+\.blocks\.\d+\.attn\..+_bias_table", stage_table),
    ),
    "mlp_mixer": ((r".+\.(mlp_tokens\.fc[12]|linear_tokens|gate\.proj)\.weight", token_mixing),),
    "mvitv2": (("pos_embed", own_tokens), (r".+\.rel_pos_[hw]", relative_axis)),
    "nest": ((r"levels\.\d+\.pos_embed", blocks),),
    "pit": (("pos_embed", overlapping_map),),
    "swin_transformer": ((TABLE, swin_table),),
    "tnt": (("patch_pos", tokens),),
    "vision_transformer": (("pos_embed", tokens),),
    "vision_transformer_hybrid": (("pos_embed", tokens),),
    "vision_transformer_relpos": ((TABLE, global_table),),
    "vision_transformer_sam": (
        ("pos_embed", partial(channels_last_map, as_reference=True)),
        (r"blocks\.\d+\.attn\.rel_pos_[hw]", sam_axis),
    ),
    "visformer": ((r"pos_embed\d", channels_first_map),),
    "vitamin": (("pos_embed", tokens),),
    "volo": (("pos_embed", channels_last_map),),
}
"""Family (the name of timm's module) -> tensors, by a pattern of their whole names, and the rule for each."""
