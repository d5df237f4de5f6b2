"""The walk over the stages of a convolutional network: where each of its blocks stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.core.errors import UsageError
from zoo.models.layers.drop import drop_path_schedule


@dataclass(frozen=True)
class BlockPlace:
    """Where in a network a block stands.

    `stride` is 1 where `output_stride` turned it into dilation. That takes effect behind the convolution that would
    stride: `first_dilation` is the one of that convolution, in the first block of a stage that of the stage before.
    `drop_path` is the rate of stochastic depth, `reduction` the pixels to a cell of the block's output. Stages, and
    positions in a stage, count from 0.
    """

    in_channels: int
    channels: int
    stride: int = 1
    dilation: int = 1
    first_dilation: int = 1
    drop_path: float = 0.0
    reduction: int = 1
    stage: int = 0
    position: int = 0

    @property
    def opens_stage(self) -> bool:
        return self.position == 0

    @property
    def keeps_shape(self) -> bool:
        """Whether the input can be added to the output as it is, also at an `output_stride` of 32."""
        return self.in_channels == self.channels and self.stride == 1 and self.first_dilation == self.dilation

    def level(self, module: str) -> dict[str, Any]:
        """The entry of `feature_info` for the output of this block, which is that of `module`."""
        return {"num_chs": self.channels, "reduction": self.reduction, "module": module}


def walk_stages(
    widths: Sequence[Sequence[int]],
    in_channels: int,
    reduction: int,
    *,
    strides: Iterable[int] = (),
    output_stride: int = 32,
    drop_path: float | Sequence[float] = 0.0,
    own_dilation: bool = False,
) -> Iterator[list[BlockPlace]]:
    """The places of the blocks, a list for each stage.

    Args:
        widths: channels that leave each block, a sequence for each stage.
        in_channels, reduction: of the map that the first stage reads.
        strides: of each stage's first block; by default 2, for the first stage only behind a stem that strides by 2.
        output_stride: 32, 16 or 8; smaller ones replace strides by dilation.
        drop_path: rate of stochastic depth of the last block, which grows linearly from 0; or a rate for each block.
        own_dilation: tell `first_dilation` from that of the stage itself, as if every dilated stage would stride. It
            differs in stages without a stride, where families whose published code does so have it like that.

    Raises UsageError for an output stride that no dilation gives.
    """
    if output_stride not in (8, 16, 32):
        raise UsageError(f"output_stride must be 8, 16 or 32, found {output_stride}.")
    num_blocks = sum(map(len, widths))
    rates = iter(drop_path_schedule(drop_path, num_blocks) if isinstance(drop_path, float | int) else drop_path)
    strides = strides or [2 if stage or reduction == 2 else 1 for stage in range(len(widths))]
    dilation = 1
    for stage, (channels, stride) in enumerate(zip(widths, strides, strict=True)):
        first_dilation = dilation
        if reduction * stride > output_stride:
            dilation, stride = dilation * stride, 1
        reduction *= stride
        if own_dilation:
            first_dilation = 1 if dilation in (1, 2) else 2
        places = []
        for position, width in enumerate(channels):
            place = BlockPlace(
                in_channels, width, stride, dilation, first_dilation, next(rates), reduction, stage, position
            )
            places.append(place)
            in_channels, stride, first_dilation = width, 1, dilation
        yield places
