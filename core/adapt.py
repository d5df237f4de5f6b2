"""Fitting a pretrained input layer to another number of channels: the one implementation, on numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.core.errors import InvalidInputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MAX_CHANS = 1 << 16
"""Far above any sensor's bands: a number with a few zeros too many must not fill the memory."""


def check_in_chans(in_chans: int) -> None:
    """Raises UsageError for a number of channels that no image has."""
    if in_chans < 1:
        raise UsageError(f"The number of input channels must be 1 or more, found {in_chans}.")
    if in_chans > MAX_CHANS:
        raise UsageError(f"The number of input channels must be {MAX_CHANS} or less, found {in_chans}.")


def adapt_input(weight: NDArray[np.float32], in_chans: int) -> NDArray[np.float32]:
    """Weight of a convolution that reads `in_chans` channels instead of the C it was trained for.

    One channel: the sum over the source channels, so f(g) = f_source(g, g, ...). More: the source filters repeated in
    order and cut, times C / in_chans, so that an input whose channels agree gives the same response on average. The
    same numbers as timm's loader.

    Args:
        weight: float32 (out, C, *kernel).
        in_chans: 1 or more; equal to C returns `weight` itself.

    Raises:
        UsageError: in_chans below 1 or above MAX_CHANS.
        InvalidInputError: the weight has no channel axis, or no channel on it.
    """
    check_in_chans(in_chans)
    if weight.ndim < 3 or weight.shape[1] == 0:
        raise InvalidInputError(
            f"An input layer's weight has the axes (out, in, kernel...), found the shape {tuple(weight.shape)}."
        )
    source = weight.shape[1]
    if in_chans == source:
        return weight
    if in_chans == 1:
        total: NDArray[np.float32] = weight.sum(axis=1, keepdims=True, dtype=weight.dtype)
        return total
    import numpy as np

    repeated = np.empty((weight.shape[0], in_chans, *weight.shape[2:]), weight.dtype)
    for start in range(0, in_chans, source):
        repeated[:, start : start + source] = weight[:, : in_chans - start]
    repeated *= weight.dtype.type(source / in_chans)
    return repeated


def adapt_channel_values(values: tuple[float, ...], in_chans: int) -> tuple[float, ...]:
    """Per-channel mean or std for the adapted layer: repeated as the filters are, averaged for one channel."""
    if len(values) == in_chans:
        return values
    if in_chans == 1:
        return (sum(values) / len(values),)
    return tuple(values[i % len(values)] for i in range(in_chans))
