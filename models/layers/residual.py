"""The residual block: a branch of modules in a row, a shortcut around them, an activation after their sum."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn as nn
from torch import Tensor

SAME = nn.Identity()


class ResidualBlock(nn.Module):
    """`act(branch(x) + shortcut(x))` (He et al., arXiv:1512.03385), written down as a table of its modules.

    Args:
        parts: name -> module in the order of the published keys. One is the shortcut, where it is None nothing is
            added; one may be the activation; all others are the branch, in the order in which they run.
        shortcut, act: the names of these two. Without a part of these names the input itself is added, and nothing
            activates the sum.
        last_norm: path of the norm that ends the branch, which may start as zero.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module | None],
        *,
        shortcut: str = "downsample",
        act: str = "act",
        last_norm: str = "",
    ) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.in_order = [name for name in parts if name not in (shortcut, act)]
        self.around, self.behind = shortcut, act
        self.last_norm = last_norm

    def branch(self, x: Tensor) -> Tensor:
        for name in self.in_order:
            x = self._modules[name](x)  # type: ignore[misc]  # the branch has no None
        return x

    def forward(self, x: Tensor) -> Tensor:
        # In the dict of modules, because an attribute that is missing takes as long as a small layer.
        out, shortcut = self.branch(x), self._modules.get(self.around, SAME)
        if shortcut is SAME:
            out = out + x
        elif shortcut is not None:
            out = out + shortcut(x)
        act = self._modules.get(self.behind)
        return out if act is None else act(out)

    def zero_last_norm(self) -> None:
        """Start the branch as zero, so the network as the identity (arXiv:1706.02677, section 5.1)."""
        nn.init.zeros_(self.get_parameter(f"{self.last_norm}.weight"))
