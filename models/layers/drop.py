"""Regularisers that are active in training only."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.tracing import leaf_function


class DropPath(nn.Module):
    """Stochastic depth (arXiv:1603.09382): drop a residual branch per sample, scale the kept ones by 1/keep."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.drop_prob):
            return x
        return x * kept_samples(x, 1.0 - self.drop_prob)

    def extra_repr(self) -> str:
        return f"{self.drop_prob:.3f}"


@leaf_function
def kept_samples(x: Tensor, keep: float) -> Tensor:
    """0 or 1 / keep for each sample of a batch, at random."""
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
    return mask / keep if keep > 0 else mask


def make_drop_path(rate: float) -> nn.Module:
    return DropPath(rate) if rate > 0 else nn.Identity()


def drop_path_schedule(rate: float, num_blocks: int) -> list[float]:
    """Rates that grow linearly from 0 at the first block to `rate` at the last."""
    return [rate * i / max(num_blocks - 1, 1) for i in range(num_blocks)]


class PatchDrop(nn.Module):
    """Train on a random part of the patches (arXiv:2212.00794): tokens (N, prefix + L, C) lose a fraction of L."""

    def __init__(self, rate: float, num_prefix_tokens: int = 0) -> None:
        super().__init__()
        self.rate, self.num_prefix_tokens = rate, num_prefix_tokens

    def forward(self, x: Tensor) -> Tensor:
        rows = self.rows(x)
        return x if rows is None else take_tokens(x, rows)

    def rows(self, x: Tensor) -> Tensor | None:
        """Which tokens of each sample are kept, (N, prefix + kept), patches in random order; None for all."""
        if not (self.training and self.rate):
            return None
        return kept_rows(x, 1 - self.rate, self.num_prefix_tokens)


@leaf_function
def kept_rows(x: Tensor, part: float, num_prefix_tokens: int) -> Tensor:
    """Of tokens (N, prefix + L, C) the numbers of the prefix and of a random part of the others: (N, prefix + kept)."""
    num_patches = x.shape[1] - num_prefix_tokens
    num_kept = max(1, int(num_patches * part))
    order = torch.rand(x.shape[0], num_patches, device=x.device).argsort(1)[:, :num_kept]
    prefix = torch.arange(num_prefix_tokens, device=x.device).expand(x.shape[0], -1)
    return torch.cat([prefix, order + num_prefix_tokens], 1)


def take_tokens(x: Tensor, rows: Tensor) -> Tensor:
    """Of tokens (N, L, C) those with the numbers (N, K): (N, K, C)."""
    return x.gather(1, rows.unsqueeze(2).expand(-1, -1, x.shape[2]))


class DropBlock2d(nn.Module):
    """DropBlock (arXiv:1810.12890): zero square patches of a map, scale the rest to keep the sum.

    `gamma_scale` multiplies the paper's seed rate.
    """

    def __init__(self, drop_prob: float, block_size: int, gamma_scale: float = 1.0) -> None:
        super().__init__()
        self.drop_prob, self.block_size, self.gamma_scale = drop_prob, block_size, gamma_scale

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.drop_prob):
            return x
        return drop_blocks(x, self.block_size, self.gamma_scale * self.drop_prob)


@leaf_function
def drop_blocks(x: Tensor, side: int, rate: float) -> Tensor:
    """A map (N, C, H, W) without blocks of this side, of which so many would begin in a cell if they were single."""
    height, width = x.shape[-2:]
    size = min(side, height, width)
    valid = (height - size + 1) * (width - size + 1)
    gamma = rate * height * width / size**2 / valid
    seeds = torch.empty_like(x).bernoulli_(min(gamma, 1.0))
    dropped = F.max_pool2d(seeds, size, stride=1, padding=size // 2)[..., :height, :width]
    kept = 1 - dropped
    return x * kept * (kept.numel() / kept.sum().clamp(min=1))
