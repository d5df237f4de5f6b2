"""Global response normalisation (Woo et al., ConvNeXt V2, arXiv:2301.00808)."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch import Tensor


class GlobalResponseNorm(nn.Module):
    """`x + weight * x * g / mean(g) + bias`, g being each channel's L2 norm over the map.

    Input is (N, H, W, C), or (N, C, H, W) without `channels_last`. It starts as the identity.
    """

    def __init__(self, channels: int, eps: float = 1e-6, *, channels_last: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.channels_last = channels_last
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        plane, axis = ((1, 2), -1) if self.channels_last else ((2, 3), 1)
        shape = (-1,) if self.channels_last else (-1, 1, 1)
        response = torch.linalg.vector_norm(x, dim=plane, keepdim=True)
        response = response / (response.mean(axis, keepdim=True) + self.eps)
        return x + torch.addcmul(self.bias.view(shape), self.weight.view(shape), x * response)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}, channels_last={self.channels_last}"
