"""The constructor that most convolutional families have in common: everything but the trunk."""

from __future__ import annotations

from typing import Any

from zoo.models.base import ImageModel, check_output_stride


class ConvNet(ImageModel):
    """A trunk of convolutions, pooling, a classifier. A family builds its trunk in `build`, and names the rest.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
    """

    def __init__(
        self,
        spec: Any,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        self.build()
        self.make_head(global_pool)

    def build(self) -> None:
        """Create the trunk, `feature_info` and `num_features`."""
        raise NotImplementedError


class DilatedConvNet(ImageModel):
    """A `ConvNet` whose strides can be replaced by dilation, with stochastic depth.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        output_stride: 32, 16 or 8; smaller ones replace strides by dilation.
        global_pool: avg, max, avgmax, catavgmax, or '' with num_classes=0.
        drop_rate, drop_path_rate: dropout before the classifier, stochastic depth of the last block.
    """

    def __init__(
        self,
        spec: Any,
        num_classes: int = 1000,
        in_chans: int = 3,
        output_stride: int = 32,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        check_output_stride(output_stride)
        self.spec = spec
        self.build(output_stride, drop_path_rate)
        self.make_head(global_pool)

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        """Create the trunk, `feature_info` and `num_features`."""
        raise NotImplementedError
