"""A small network that stands for a feature net: its levels have strides of their own."""

from __future__ import annotations

import torch


class TwoLevels(torch.nn.Module):
    """Maps of stride 2 and 8."""

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.stem = torch.nn.Conv2d(in_chans, 4, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.stage = torch.nn.Conv2d(4, 6, 5, stride=4, padding=2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.norm(self.stem(x)).relu()
        return [x, self.stage(x)]
