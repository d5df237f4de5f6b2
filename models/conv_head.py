"""A head with layers between pooling and classifier, where they cost less than on a map."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.base import ImageModel


class ConvHead(ImageModel):
    """Pooling, a 1x1 convolution and what follows it (`hidden_layers`), classifier.

    A family creates these layers once, in `make_hidden_layers`; so pooling cannot change their width later.
    """

    hidden_layers: ClassVar[tuple[str, ...]] = ("conv_head", "act2")
    """Module paths of the layers, the convolution first."""
    head_parts = ("global_pool", "conv_head", "norm_head", "act2")
    pooled_width: int = 0

    def make_hidden_layers(self, pooled: int) -> int:
        """Create the layers for so many pooled channels; returns the channels that the classifier reads."""
        raise NotImplementedError

    def classifier_width(self, pooled: int) -> int:
        """Create the layers with the first head; raises UsageError for a later one that pools other channels."""
        if not self.pooled_width:
            self.hidden_width, self.pooled_width = self.make_hidden_layers(pooled), pooled
        if self.pooled_width != pooled:
            raise UsageError(
                f"The head of this model was made for {self.pooled_width} pooled channels, other pooling"
                f" would give {pooled}.",
                hint="Give global_pool when the model is created.",
            )
        return self.hidden_width

    def before_classifier(self, x: Tensor) -> Tensor:
        x = x[..., None, None] if self.pools else x
        for path in self.hidden_layers:
            x = self.get_submodule(path)(x)
        return x.flatten(1) if self.pools else x
