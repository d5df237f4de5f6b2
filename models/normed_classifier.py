"""Classifiers that are a batch norm and a linear layer, as LeViT has them (Graham et al., arXiv:2104.01136)."""

from __future__ import annotations

import torch.nn as nn

from zoo.models.base import ImageModel
from zoo.models.distilled import DistilledMean
from zoo.models.layers.conv_norm import NormThenLinear, norm_linear


class NormedClassifier(ImageModel):
    """A model whose classifiers are a norm `bn` and a linear layer `l`, which is the one that the spec names."""

    classifier_layer = "l"

    def make_classifier(self) -> nn.Module:
        if self.is_reparameterized:
            return super().make_classifier()
        return norm_linear(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()


class DistilledOfMean(NormedClassifier, DistilledMean):
    """One such classifier, or one for the labels and one for a teacher, all of the mean over the map."""

    def fuse(self) -> nn.Module:
        """The model with one linear layer `head`, whose logits are the mean of all classifiers'."""
        if "head" not in self._modules:  # it was cut off
            return self
        classifiers = self.get_classifier()
        parts = classifiers if isinstance(classifiers, tuple) else (classifiers,)
        if all(isinstance(part, NormThenLinear) for part in parts):
            maps = [part.linear_map() for part in parts]
            self.head = (sum(maps[1:], maps[0]) / len(maps)).as_layer(parts[0].l)
        else:  # there are no classes, or each classifier is a layer already
            self.head = parts[0]
        return self
