"""A head that widens the map before the pooling and has a hidden layer after it."""

from __future__ import annotations

from typing import ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.base import ImageModel
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_unit import conv_unit


class ExpandedHead(ImageModel):
    """A pointwise convolution with a norm, pooling, a linear layer with a layer norm, classifier.

    Their widths are the spec's `head_widths`, their activation is its `act_layer`. A family creates these layers in its
    `build`, under the paths that it names.
    """

    expansion: ClassVar[str]
    """Module path of the convolution."""
    hidden_layers: ClassVar[tuple[str, ...]]
    """Module paths of what stands between pooling and classifier."""

    def make_expansion(self) -> nn.Sequential:
        return conv_unit(self.num_features, self.spec.head_widths[0], act=self.spec.act_layer)

    def make_hidden_layer(self, eps: float = 1e-5) -> tuple[nn.Linear, nn.LayerNorm, nn.Module]:
        """Linear layer, norm, activation."""
        pooled, hidden = self.spec.head_widths
        norm = nn.LayerNorm(hidden, eps=eps)
        return nn.Linear(pooled, hidden, bias=False), norm, make_activation(self.spec.act_layer)

    def make_pool(self, pool_type: str) -> nn.Module:
        """Raises UsageError for pooling that doubles the width, for which the hidden layer is not made."""
        if pool_type.endswith("catavgmax"):
            raise UsageError(f"The hidden layer of this head reads one pooled map, {pool_type!r} gives two.")
        return super().make_pool(pool_type)

    def classifier_width(self, pooled: int) -> int:  # noqa: ARG002 - the widths are the spec's
        return int(self.spec.head_widths[1])

    def classifier_input(self, x: Tensor) -> Tensor:
        """Maps that are not pooled stay maps, whose cells pass the hidden layer one by one."""
        x = self.global_pool(self.get_submodule(self.expansion)(x))
        x = x if self.pools else x.movedim(1, -1)
        for path in self.hidden_layers:
            x = self.get_submodule(path)(x)
        return x if self.pools else x.movedim(-1, 1)
