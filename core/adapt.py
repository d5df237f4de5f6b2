"""Fitting a pretrained input layer to another number of channels: the one implementation, on numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.core.errors import InvalidInputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def adapt_input(weight: NDArray[np.float32], in_chans: int) -> NDArray[np.float32]:
    """Weight of a convolution that reads `in_chans` channels instead of the C it was trained for.

    One channel: the sum over the source channels, so f(g) = f_source(g, g, ...). More: the source filters repeated in
    order and cut, times C / in_chans, so that an input whose channels agree gives the same response on average. The
    same numbers as timm's loader.

    Args:
        weight: float32 (out, C, *kernel).
        in_chans: 1 or more; equal to C returns `weight` itself.

    Raises:
        UsageError: in_chans below 1.
        InvalidInputError: the weight has no channel axis.
    """
    if in_chans < 1:
        raise UsageError(f"The number of input channels must be 1 or more, found {in_chans}.")
    if weight.ndim < 3:
        raise InvalidInputError(
            f"An input layer's weight has the axes (out, in, kernel...), found the shape {tuple(weight.shape)}."
        )
    source = weight.shape[1]
    if in_chans == source:
        return weight
    if in_chans == 1:
        total: NDArray[np.float32] = weight.sum(axis=1, keepdims=True, dtype=weight.dtype)
        return total
    repeated = weight.take([i % source for i in range(in_chans)], axis=1)
    repeated *= weight.dtype.type(source / in_chans)
    return repeated


def adapt_channel_values(values: tuple[float, ...], in_chans: int) -> tuple[float, ...]:
    """Per-channel mean or std for the adapted layer: repeated as the filters are, averaged for one channel."""
    if len(values) == in_chans:
        return values
    if in_chans == 1:
        return (sum(values) / len(values),)
    return tuple(values[i % len(values)] for i in range(in_chans))
