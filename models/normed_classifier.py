"""Classifiers that are a batch norm and a linear layer, as LeViT has them (Graham et al., arXiv:2104.01136)."""

from __future__ import annotations

import torch.nn as nn

from zoo.models.base import ImageModel
from zoo.models.distilled import DistilledMean
from zoo.models.layers.conv_norm import norm_linear


class NormedClassifier(ImageModel):
    """A model whose classifiers are a norm `bn` and a linear layer `l`, which is the one that the spec names."""

    @property
    def classifier_paths(self) -> tuple[str, ...]:
        """Module paths of the norm and the layer together."""
        return tuple(path.removesuffix(".l") for path in super().classifier_paths)

    def make_classifier(self) -> nn.Module:
        return norm_linear(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()


class DistilledOfMean(NormedClassifier, DistilledMean):
    """One such classifier, or one for the labels and one for a teacher, all of the mean over the map."""
