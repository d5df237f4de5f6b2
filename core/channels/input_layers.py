"""How an input layer's weight stores its channels: which entries of the weight belong to which channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.errors import InvalidInputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.core.channels.mixing import ChannelMixing

KINDS = {
    "conv": "(out, in, kernel...): the channels are the second axis",
    "groups": "(out, C / G, kernel...): a convolution of G groups, each reading its own C / G channels",
    "blocks": "(out, B * C, ...): index = pixel * C + c for B pixels (space to depth, linear patch embedding)",
    "planes": "(out, C * B, ...): as blocks with the channels outermost (pixel unshuffle), index = c * B + pixel",
}


class InputLayout(NamedTuple):
    """The place of the channels in an input layer's weight; `count` is G or B of `KINDS`, 1 for a plain convolution."""

    kind: str = "conv"
    count: int = 1  # type: ignore[assignment]  # tuple.count is not used

    @classmethod
    def parse(cls, text: str) -> InputLayout:
        """Read `conv`, `groups:3`, `blocks:16` or `planes:4`. Raises UsageError."""
        kind, _, count = text.partition(":")
        sound = kind in KINDS and (
            (count.isascii() and count.isdigit() and len(count) < 10 and int(count) > 0)
            or (kind, count) == ("conv", "")
        )
        if not sound or (kind == "conv" and count not in ("", "1")):
            raise UsageError(
                f"An input layout reads conv, groups:G, blocks:B or planes:B, found {text!r}.",
                hint="For a linear embedding of 16x16 patches: blocks:256.",
            )
        return cls(kind, int(count or 1))

    def __str__(self) -> str:
        return self.kind if self.kind == "conv" else f"{self.kind}:{self.count}"

    def channels(self, shape: Sequence[int]) -> int:
        """The number of channels that a weight of this shape reads; 0 if the shape cannot have this layout."""
        if len(shape) < (2 if self.kind in ("blocks", "planes") else 3):
            return 0
        if self.kind == "groups":
            return shape[1] * self.count if shape[0] % self.count == 0 else 0
        return shape[1] // self.count if shape[1] % self.count == 0 else 0

    def mixed_channels(self, channels: int) -> int:
        """The number of channels that are mixed with each other: all, or those of one group.

        Raises InvalidInputError if the groups cannot have equally many.
        """
        if self.kind != "groups":
            return channels
        if channels % self.count:
            raise InvalidInputError(
                f"The input layer has {self.count} groups, and {channels} channels cannot be divided equally "
                "among them.",
                hint=f"Choose a multiple of {self.count} channels.",
            )
        return channels // self.count

    def shape_for(self, shape: Sequence[int], in_chans: int) -> tuple[int, ...]:
        """The shape of the weight with `in_chans` input channels."""
        axis = self.mixed_channels(in_chans) if self.kind == "groups" else in_chans * self.count
        return (shape[0], axis, *shape[2:])

    def by_channel(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weight as (out, mixed channels, rest)."""
        out, axis = weight.shape[:2]
        if self.kind in ("conv", "groups"):
            return weight.reshape(out, axis, -1)
        channels = axis // self.count
        if self.kind == "planes":
            return weight.reshape(out, channels, -1)
        return weight.reshape(out, self.count, channels, -1).swapaxes(1, 2).reshape(out, channels, -1)

    def adapt(self, weight: NDArray[np.float32], mixing: ChannelMixing) -> NDArray[np.float32]:
        """Apply `mixing` to the weight's channels, keeping its layout and dtype."""
        mixed = mixing.apply(self.by_channel(weight))
        out, channels, rest = mixed.shape
        if self.kind == "blocks":
            mixed = mixed.reshape(out, channels, self.count, rest // self.count).swapaxes(1, 2)
        axis = channels if self.kind in ("conv", "groups") else channels * self.count
        return mixed.reshape(out, axis, *weight.shape[2:])
