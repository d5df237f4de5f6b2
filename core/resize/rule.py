"""What a resize is, and what its rules have in common: the tensor, the sizes and the grids of cells.

A rule takes one tensor of a checkpoint and says how it is resized (None: it stays), or raises. Rules that timm's loader
or its forward pass has too are marked as the reference's; the others take its rule for tensors of the same kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.core.errors import InvalidInputError
from zoo.core.resize.resample import Filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Function = Callable[[NDArray[Any]], NDArray[Any]]

Size = tuple[int, int]
Shape = tuple[int, ...]


def text(size: Size) -> str:
    """A size as people write it."""
    return f"{size[0]} x {size[1]}"


@dataclass(frozen=True, kw_only=True)
class Resize:
    """What happens to one tensor."""

    old_shape: Shape
    new_shape: Shape
    method: str
    """The interpolation in words, for reports."""
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
    stated: bool = False
    """Whether `source` is said of this checkpoint, by itself or a person; else it is the architecture's default, which
    the tensors may contradict."""
    target: Size
    old_patch: Size | None
    """Kernel of the patch embedding, for families whose grid follows from it."""
    new_patch: Size | None
    windows: tuple[Size, ...] = ()
    """Of each stage, where they do not follow from the target."""
    embeds_prefix: bool | None = None
    """Whether prefix tokens have positions; None where only the architecture's row, if there is one, tells."""
    filter_: Filter
    """Of the architecture's token embeddings."""

    @property
    def is_same_size(self) -> bool:
        """Whether nothing is to change: the tensors are only compared with the size that is stated."""
        return self.source == self.target and self.old_patch == self.new_patch


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor whose shape may depend on the size."""

    name: str
    shape: Shape
    job: Job

    def axes(self, count: int) -> Shape:
        """The shape, which must have this many axes."""
        if len(self.shape) != count:
            raise self.refused(f"{count} axes were expected")
        return self.shape

    def refused(self, reason: str) -> InvalidInputError:
        """The error that says why this tensor cannot be resized."""
        job = self.job
        return InvalidInputError(
            f"Cannot resize {self.name} of shape {self.shape} from {text(job.source)} to {text(job.target)}: {reason}.",
            hint="Leave out --img-size and --patch-size to keep the sizes that the weights were made for.",
        )

    def to(self, new_shape: Shape, method: str, function: Function, as_reference: bool = True) -> Resize:
        """A Resize of this tensor."""
        return Resize(
            old_shape=self.shape, new_shape=new_shape, method=method, function=function, as_reference=as_reference
        )


Rule = Callable[[Tensor], Resize | None]


# ---------------------------------------------------------------- grids


def divide(size: Size, step: int | Size) -> Size:
    """How many whole steps fit on each side."""
    height, width = (step, step) if isinstance(step, int) else step
    return size[0] // height, size[1] // width


def halved(size: Size, times: int) -> Size:
    """The map after `times` layers of stride 2 that pad: sides are rounded up."""
    return -(-size[0] // 2**times), -(-size[1] // 2**times)


def nonempty(tensor: Tensor, grid: Size) -> Size:
    """The grid, which must have a cell."""
    if min(grid) < 1:
        raise tensor.refused("the image is smaller than one cell")
    return grid


def strided_grid(tensor: Tensor, old: Size, stride: int | None = None) -> Size:
    """The new grid where cells have a whole number of pixels.

    Where `stride` does not say how many, the old grid and the source's size do.
    """
    job = tensor.job
    if stride is None:
        stride = job.source[0] // old[0] if min(old) else 0
        if (old[0] * stride, old[1] * stride) != job.source:
            raise tensor.refused(f"its grid of {text(old)} does not divide the size of the source")
    new = nonempty(tensor, divide(job.target, stride))
    if (new[0] * stride, new[1] * stride) != job.target:
        raise tensor.refused(f"the image size must be a multiple of {stride}")
    return new


def patch_grids(tensor: Tensor) -> tuple[Size, Size]:
    """Grid of patches before and after, for families whose stem is the patch embedding."""
    job = tensor.job
    if job.old_patch is None or job.new_patch is None:
        raise tensor.refused("the file has no patch embedding that shows the grid")
    old, new = divide(job.source, job.old_patch), divide(job.target, job.new_patch)
    return nonempty(tensor, old), nonempty(tensor, new)


def square(area: int) -> Size | None:
    """The square grid of this many cells, None where there is none."""
    edge = math.isqrt(area) if area > 0 else 0
    return (edge, edge) if edge and edge * edge == area else None
