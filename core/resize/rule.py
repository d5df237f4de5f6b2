"""The result of a resize, and what its rules share: the tensor, the sizes and the grids of cells.

A rule takes one tensor of a checkpoint and returns how to resize it (None: keep it), or raises. A rule is marked
`as_reference` if timm's loader or forward pass has it too; the others apply timm's rule for tensors of the same kind.
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
    """A size as text."""
    return f"{size[0]} x {size[1]}"


@dataclass(frozen=True, kw_only=True)
class Resize:
    """The change of one tensor."""

    old_shape: Shape
    new_shape: Shape
    method: str
    """The interpolation in words, for reports."""
    as_reference: bool = True
    """Whether timm resizes this tensor too; if not, its rule for tensors of the same kind is used."""
    function: Function

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Resize the tensor: float16, float32 or float64 of `old_shape` -> the same dtype, `new_shape`."""
        if array.shape != self.old_shape:
            raise InvalidInputError(f"Expected a tensor of shape {self.old_shape} to resize, found {array.shape}.")
        return self.function(array)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A checkpoint, with its old and new sizes, each (height, width) in pixels."""

    architecture: str
    shapes: Mapping[str, Shape]
    source: Size
    stated: bool = False
    """Whether `source` is stated for this checkpoint, by itself or the user.

    Otherwise it is the architecture's default, which the tensors may contradict.
    """
    target: Size
    old_patch: Size | None
    """Kernel of the patch embedding, for families whose grid follows from it."""
    new_patch: Size | None
    windows: tuple[Size, ...] = ()
    """The windows of each stage, if they do not follow from the target."""
    embeds_prefix: bool | None = None
    """Whether prefix tokens have positions; None if only the architecture's row can tell."""
    filter_: Filter
    """The filter for the architecture's token embeddings."""

    @property
    def is_same_size(self) -> bool:
        """Whether nothing changes: the tensors are only compared with the stated size."""
        return self.source == self.target and self.old_patch == self.new_patch


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor whose shape may depend on the size."""

    name: str
    shape: Shape
    job: Job

    def axes(self, count: int) -> Shape:
        """The shape, which must have this number of axes."""
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
    """The number of whole steps per side."""
    height, width = (step, step) if isinstance(step, int) else step
    return size[0] // height, size[1] // width


def halved(size: Size, times: int) -> Size:
    """The map after `times` padded layers of stride 2: sides are rounded up."""
    return -(-size[0] // 2**times), -(-size[1] // 2**times)


def nonempty(tensor: Tensor, grid: Size) -> Size:
    """The grid, which must have at least one cell."""
    if min(grid) < 1:
        raise tensor.refused("the image is smaller than one cell")
    return grid


def strided_grid(tensor: Tensor, old: Size, stride: int | None = None) -> Size:
    """The new grid, for cells with a whole number of pixels.

    If `stride` does not give this number, the old grid and the source's size do.
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
    """The grid of patches before and after, for families whose stem is the patch embedding."""
    job = tensor.job
    if job.old_patch is None or job.new_patch is None:
        raise tensor.refused("the file has no patch embedding that shows the grid")
    old, new = divide(job.source, job.old_patch), divide(job.target, job.new_patch)
    return nonempty(tensor, old), nonempty(tensor, new)


def square(area: int) -> Size | None:
    """The square grid with this number of cells; None if there is none."""
    edge = math.isqrt(area) if area > 0 else 0
    return (edge, edge) if edge and edge * edge == area else None
