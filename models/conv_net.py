"""What the convolutional families have in common: the constructor, the order of the trunk, initial values."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Signature, signature
from typing import Any, ClassVar

import torch.nn as nn

from zoo.models.base import ImageModel, Step
from zoo.models.layers.init import TORCH, InitialValues
from zoo.models.layers.residual import ResidualBlock


class _Keywords:
    """The signature of a family's class: the keywords of every `ConvNet` and those of the family's own `build`."""

    def __get__(self, model: ConvNet | None, family: type[ConvNet]) -> Signature:
        if model is not None:
            raise AttributeError("A model is called with images, only its class with keywords.")
        common = [p for p in signature(ConvNet.__init__).parameters.values() if p.name not in ("self", "options")]
        own = [p for p in signature(family.build).parameters.values() if p.name != "self"]
        return Signature(common + own)


class ConvNet(ImageModel):
    """A trunk of convolutions, pooling, a classifier. A family builds its trunk in `build`, and names the rest.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0; by default the family's.
        drop_rate: dropout before the classifier; by default the family's.
        options: keywords of the family's `build`. `output_stride` is 32, 16 or 8, where smaller ones replace strides by
            dilation; `drop_path_rate` is that of stochastic depth in the last block.
    """

    default_pool: ClassVar[str] = "avg"
    default_drop_rate: ClassVar[float] = 0.0
    initial_values: ClassVar[InitialValues] = TORCH
    """How convolutions and linear layers start."""
    trunk: tuple[str, ...] = ("stem", "stages.*")
    """Module paths of the steps in order; `.*` stands for the children of a module, each a step."""
    __signature__ = _Keywords()

    def __init__(
        self,
        spec: Any,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str | None = None,
        drop_rate: float | None = None,
        **options: Any,
    ) -> None:
        drop_rate = self.default_drop_rate if drop_rate is None else drop_rate
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        self.feature_info = []
        self.build(**options)
        self.make_head(self.default_pool if global_pool is None else global_pool)

    def build(self, *args: Any, **options: Any) -> None:
        """Create the trunk, `feature_info` and `num_features`."""
        raise NotImplementedError

    def add_level(self, channels: int, reduction: int, module: str, name: str = "") -> None:
        """Add to `feature_info` a level of so many channels and pixels to a cell, the output of the module.

        `name` is what the level is called where that is not the module's path.
        """
        level = {"num_chs": channels, "reduction": reduction, "module": module}
        self.feature_info.append(level | {"name": name} if name else level)

    def steps(self) -> Iterator[tuple[str, Step]]:
        for path in self.trunk:
            module = self.get_submodule(path.removesuffix(".*"))
            if path.endswith(".*"):
                yield from ((f"{path[:-1]}{name}", child) for name, child in module.named_children())
            else:
                yield path, module

    def zero_initialised(self, block: ResidualBlock) -> bool:
        """Whether a block's branch starts as zero."""
        return bool(block.last_norm)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        self.initial_values.fill(module)
        if isinstance(module, ResidualBlock) and self.zero_initialised(module):
            module.zero_last_norm()
