"""Pooling over the image plane."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError

POOL_TYPES = ("", "avg", "max", "avgmax", "catavgmax")


class Pool(nn.Module):
    """A pooling of a type. It equals the type's name, as published code compares `model.global_pool == "avg"`."""

    pool_type: str

    def __eq__(self, other: object) -> bool:
        return self.pool_type == other if isinstance(other, str) else self is other

    __hash__ = nn.Module.__hash__

    def extra_repr(self) -> str:
        return repr(self.pool_type)


class GlobalPool(Pool):
    """(N, C, H, W) -> (N, C), or (N, 2C) for `catavgmax`; the empty type is the identity.

    `avgmax` is the mean of the average and the maximum, `catavgmax` puts the two side by side. The `fast` prefix of
    older configs is accepted and changes nothing.
    """

    def __init__(self, pool_type: str = "avg") -> None:
        super().__init__()
        self.pool_type = pool_type.removeprefix("fast") if pool_type else ""
        if self.pool_type not in POOL_TYPES:
            raise UsageError(f"global_pool must be one of {', '.join(map(repr, POOL_TYPES))}, found {pool_type!r}.")

    @property
    def feature_multiplier(self) -> int:
        return 2 if self.pool_type == "catavgmax" else 1

    def forward(self, x: Tensor) -> Tensor:
        if not self.pool_type:
            return x
        if self.pool_type == "avg":
            return x.mean((2, 3))
        if self.pool_type == "max":
            return x.amax((2, 3))
        average, maximum = x.mean((2, 3)), x.amax((2, 3))
        return 0.5 * (average + maximum) if self.pool_type == "avgmax" else torch.cat([average, maximum], 1)


TOKEN_POOL_TYPES = ("", "token", "avg", "max", "avgmax", "map")


class TokenPool(Pool):
    """Tokens (N, prefix + patches, C) -> (N, C): the first one (`token`), or the average, maximum or their mean.

    The empty type is the identity; `map` gives the tokens (N, L, C) that an attention pool is to read.

    Args:
        pool_type: one of TOKEN_POOL_TYPES.
        num_prefix_tokens: class token and registers, which come first.
        include_prefix: whether they are pooled with the patches.
        attention_follows: whether an attention pool reads what this one gives, as `map` needs.

    Raises UsageError for a type that these tokens do not have.
    """

    feature_multiplier = 1

    def __init__(
        self,
        pool_type: str,
        num_prefix_tokens: int = 0,
        include_prefix: bool = False,
        attention_follows: bool = False,
    ) -> None:
        super().__init__()
        if pool_type not in TOKEN_POOL_TYPES:
            known = ", ".join(map(repr, TOKEN_POOL_TYPES))
            raise UsageError(f"global_pool of tokens must be one of {known}, found {pool_type!r}.")
        if pool_type == "token" and not num_prefix_tokens:
            raise UsageError("global_pool='token' needs a class token, which this model has not.")
        if pool_type == "map" and not attention_follows:
            raise UsageError("global_pool='map' needs an attention pool, which this model was built without.")
        self.pool_type = pool_type
        self.first = 0 if include_prefix else num_prefix_tokens

    def forward(self, x: Tensor) -> Tensor:
        if not self.pool_type:
            return x
        if self.pool_type == "token":
            return x[:, 0]
        x = x[:, self.first :]
        if self.pool_type == "map":
            return x
        if self.pool_type == "avg":
            return x.mean(1)
        return x.amax(1) if self.pool_type == "max" else 0.5 * (x.amax(1) + x.mean(1))


class BlurPool2d(nn.Module):
    """Anti-aliased downsampling: a binomial filter on padded borders, then every `stride`-th pixel.

    `pad_mode` is "reflect" or "constant" (zeros).

    Zhang, Making Convolutional Networks Shift-Invariant Again (arXiv:1904.11486).
    """

    filt: Tensor

    def __init__(self, channels: int, stride: int = 2, pad_mode: str = "reflect") -> None:
        super().__init__()
        self.channels, self.stride, self.pad_mode = channels, stride, pad_mode
        row = torch.tensor([1.0, 2.0, 1.0], device="cpu") / 4  # a constant: real also where the model is on meta
        self.register_buffer("filt", row.outer(row).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode=self.pad_mode)
        return F.conv2d(padded, self.filt, stride=self.stride, groups=self.channels)


def antialias_pool(aa_layer: str, channels: int, stride: int) -> nn.Module:
    """The downsampling that takes over a convolution's stride: "blur", "blurpc" (padded with zeros) or "avg"."""
    if aa_layer == "avg":
        return nn.AvgPool2d(stride)
    return BlurPool2d(channels, stride, pad_mode="constant" if aa_layer == "blurpc" else "reflect")


class AvgPool2dSame(nn.Module):
    """2x2 average that keeps the size: the right and bottom border are padded with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, stride=1)


def shortcut_pool(stride: int, dilation: int = 1) -> nn.Module:
    """The 2x2 average in front of a shortcut's 1x1 convolution (ResNet-D, arXiv:1812.01187).

    A stride that became dilation is averaged without a stride; with neither it is an identity.
    """
    if stride > 1:
        return nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    return AvgPool2dSame() if dilation > 1 else nn.Identity()
