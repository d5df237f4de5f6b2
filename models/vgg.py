"""VGG: Simonyan and Zisserman, Very Deep Convolutional Networks (arXiv:1409.1556)."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.vgg import VggSpec
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.init import KAIMING_NORMAL
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.tracing import leaf_function

__getattr__ = family_attributes("vgg")

KEY_LAYOUTS = ("torchvision",)


@leaf_function
def enlarge(x: Tensor, side: int) -> Tensor:
    """A map (N, C, H, W) of at least this height and width."""
    height, width = x.shape[-2:]
    if height < side or width < side:
        return F.adaptive_avg_pool2d(x, (max(height, side), max(width, side)))
    return x


class FullyConnected(nn.Module):
    """The two hidden layers of the classifier as convolutions, the first over a 7x7 window.

    A map smaller than the window is enlarged to it, a larger one gives a map of hidden vectors.
    """

    window = 7

    def __init__(self, in_channels: int, hidden: int, channels: int, act_layer: str, drop_rate: float) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(in_channels, hidden, self.window)
        self.act1 = make_activation(act_layer)
        self.drop = nn.Dropout(drop_rate)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.act2 = make_activation(act_layer)

    def forward(self, x: Tensor) -> Tensor:
        x = enlarge(x, self.window)
        x = self.drop(self.act1(self.fc1(x)))
        return self.act2(self.fc2(x))


class VGG(ConvNet):
    """Stages of 3x3 convolutions, two fully connected layers, classifier `head.fc`."""

    spec: VggSpec
    initial_values = KAIMING_NORMAL
    head_parts = ("global_pool", "pre_logits")
    hidden = 4096

    def build(self) -> None:
        spec = self.spec
        self._make_stages(spec, self.in_chans)
        width = int(self.hidden * spec.mlp_ratio)
        self.pre_logits = FullyConnected(self.num_features, width, self.hidden, spec.act_layer, self.drop_rate)

    def _make_stages(self, spec: VggSpec, in_channels: int) -> None:
        """Create `features`; a level ends before each pooling, the last one after it."""
        self.features = nn.Sequential()
        for index, (repeats, channels) in enumerate(zip(spec.repeats, spec.channels, strict=True)):
            for _ in range(repeats):
                self.features.append(nn.Conv2d(in_channels, channels, 3, padding=1))
                if spec.norm_layer:
                    self.features.append(norm_factory(spec.norm_layer)(channels))
                self.features.append(make_activation(spec.act_layer))
                in_channels = channels
            self.add_level(channels, 2**index, f"features.{len(self.features) - 1}")
            self.features.append(nn.MaxPool2d(2))
        self.num_features = in_channels
        self.add_level(in_channels, 2 ** len(spec.repeats), f"features.{len(self.features) - 1}")

    def classifier_width(self, pooled: int) -> int:  # noqa: ARG002 - the hidden vectors are pooled, not the trunk's maps
        return self.hidden * self.global_pool.feature_multiplier

    def steps(self) -> Iterator[tuple[str, Step]]:
        return self.steps_by_level("features")

    def classifier_input(self, x: Tensor) -> Tensor:
        return super().classifier_input(self.pre_logits(x))
