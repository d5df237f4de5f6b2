"""A normalisation and the activation after it as one module, so that its keys are those of the norm alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.layers.activation import make_activation
from zoo.models.layers.norm import LayerNorm2d, RmsNorm2d
from zoo.models.layers.tracing import leaf_function

NormActFactory = Callable[..., nn.Module]


@leaf_function
def batch_norm_in_training(
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    count: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float | None,
    eps: float,
) -> Tensor:
    """Batch norm by the statistics of the batch, which the running ones and the count of batches take in.

    `momentum` None gives all batches so far the same share.
    """
    if count is not None:
        count.add_(1)
    if momentum is None:
        momentum = 0.0 if count is None else 1.0 / float(count)
    return F.batch_norm(x, mean, var, weight, bias, True, momentum, eps)


class BatchNormAct2d(nn.BatchNorm2d):
    def __init__(self, channels: int, act: str, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)
        self.act = make_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.BatchNorm2d` without its check of the axes, which no trace gets through."""
        mean, var = self.running_mean, self.running_var
        if self.training and self.track_running_stats:
            count = self.num_batches_tracked
            x = batch_norm_in_training(x, mean, var, count, self.weight, self.bias, self.momentum, self.eps)
        else:
            by_batch = self.training or mean is None
            mean, var = (None, None) if self.training else (mean, var)
            x = F.batch_norm(x, mean, var, self.weight, self.bias, by_batch, self.momentum or 0.0, self.eps)
        return self.act(x)


class InPlaceBatchNormAct2d(BatchNormAct2d):
    """In-place activated batch norm (arXiv:1712.02616): batch norm and activation, without a count of batches.

    In place is how the authors save memory in training; the numbers are the same.
    """

    def __init__(self, channels: int, act: str, eps: float = 1e-5) -> None:
        super().__init__(channels, act, eps)
        self.num_batches_tracked = None

    def reset_running_stats(self) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.zero_()
        self.running_var.fill_(1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        # For states of an older version batch norm adds the count, which would be unknown here.
        super()._load_from_state_dict(state_dict, prefix, {**local_metadata, "version": 2}, *rest)


class GroupNormAct(nn.GroupNorm):
    """Groups of `group_size` channels, or 32 groups where that is 0."""

    def __init__(self, channels: int, act: str, eps: float = 1e-5, group_size: int = 0) -> None:
        super().__init__(num_groups(channels, group_size), channels, eps=eps)
        self.act = make_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class LayerNormAct2d(LayerNorm2d):
    def __init__(self, channels: int, act: str, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)
        self.act = make_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class RmsNormAct2d(RmsNorm2d):
    def __init__(self, channels: int, act: str, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)
        self.act = make_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class EvoNormS0(nn.Module):
    """EvoNorm-S0 (arXiv:2004.02967): `x * sigmoid(v x) / std of the group * weight + bias`.

    It is its own activation. Without one (`act` "identity") only the scale and the shift are left.
    """

    def __init__(self, channels: int, act: str, eps: float = 1e-5, group_size: int = 0) -> None:
        super().__init__()
        self.num_groups, self.eps = num_groups(channels, group_size), eps
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.v = nn.Parameter(torch.empty(channels)) if act != "identity" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.v is not None:
            nn.init.ones_(self.v)

    def normalise(self, x: Tensor) -> Tensor:
        """Divide each group by its standard deviation."""
        groups = x.unflatten(1, (self.num_groups, -1))
        # In float32 whatever the maps are in: half precision has not the range, and the reference does so too.
        var = groups.float().var((2, 3, 4), correction=0, keepdim=True)
        return (groups / (var + self.eps).sqrt().to(x.dtype)).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.v is not None:
            x = self.normalise(x) * (x * per_channel(self.v)).sigmoid()
        return x * per_channel(self.weight) + per_channel(self.bias)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, num_groups={self.num_groups}, eps={self.eps}"


class FilterResponseNormTlu2d(nn.Module):
    """Filter response norm with a thresholded linear unit (arXiv:1911.09737): `max(x / rms * weight + bias, tau)`.

    The root mean square is that of each map. It is its own activation; without one (`act` "identity") there is no tau.
    """

    def __init__(self, channels: int, act: str, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.tau = nn.Parameter(torch.empty(channels)) if act != "identity" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.tau is not None:
            nn.init.zeros_(self.tau)

    def forward(self, x: Tensor) -> Tensor:
        # In float32 for the reason that EvoNormS0 gives.
        mean_square = x.square().float().mean((2, 3), keepdim=True)
        x = x * (mean_square + self.eps).rsqrt().to(x.dtype)
        x = x * per_channel(self.weight) + per_channel(self.bias)
        return x if self.tau is None else torch.maximum(x, per_channel(self.tau))


class EvoNormS0a(EvoNormS0):
    """EvoNorm-S0 that normalises also where it is no activation."""

    def forward(self, x: Tensor) -> Tensor:
        normed = self.normalise(x)
        if self.v is not None:
            normed = normed * (x * per_channel(self.v)).sigmoid()
        return normed * per_channel(self.weight) + per_channel(self.bias)


def num_groups(channels: int, group_size: int) -> int:
    """Groups of a norm; raises UsageError where the channels do not divide evenly."""
    groups = channels // group_size if group_size else 32
    if channels % groups or (group_size and channels % group_size):
        wanted = f"groups of {group_size} channels" if group_size else "32 groups"
        raise UsageError(f"The norm was asked for {wanted}, which {channels} channels cannot be split into.")
    return groups


def per_channel(values: Tensor) -> Tensor:
    """(C,) -> (C, 1, 1), to broadcast over a map."""
    return values.view(-1, 1, 1)


NORM_ACTS: dict[str, type[nn.Module]] = {
    "batchnorm": BatchNormAct2d,
    "iabn": InPlaceBatchNormAct2d,
    "groupnorm": GroupNormAct,
    "layernorm": LayerNormAct2d,
    "rmsnorm": RmsNormAct2d,
    "evonorms0": EvoNormS0,
    "frntlu": FilterResponseNormTlu2d,
    "evonorms0a": EvoNormS0a,
}
_GROUPED = {"groupnorm", "evonorms0", "evonorms0a"}


def norm_act_factory(name: str, act: str, eps: float = 1e-5, group_size: int = 0) -> NormActFactory:
    """channels -> norm followed by the activation `act`, or by the one that the call names ("identity" for none).

    Args:
        name: one of NORM_ACTS.
        eps: added to the variance.
        group_size: channels of a group of the norms that have groups; 0 is 32 groups.
    """
    if name not in NORM_ACTS:
        raise UsageError(f"A norm must be one of {', '.join(NORM_ACTS)}, found {name!r}.")
    options = {"group_size": group_size} if name in _GROUPED else {}
    return partial(NORM_ACTS[name], act=act, eps=eps, **options)
