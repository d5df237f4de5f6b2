"""Two classifiers, one taught by the labels and one by a teacher network.

Touvron et al., Training data-efficient image transformers (arXiv:2012.12877), section 4.
"""

from __future__ import annotations

from typing import Any

from zoo.models.base import ImageModel


class DistilledModel(ImageModel):
    """A model with the classifiers `head` and `head_dist`, whose prediction is the mean of both.

    With `set_distilled_training` a model in training returns the pair, for a loss against the labels and one against
    the teacher.
    """

    distilled_training = False

    def set_distilled_training(self, enable: bool = True) -> None:
        """Whether a model in training returns the predictions of both classifiers."""
        self.distilled_training = enable

    def classify(self, pooled: Any) -> Any:
        """The mean of the logits, or in distilled training the pair."""
        if self.distilled_training and self.training and len(self.classifier_paths) == 2:
            return tuple(self.logits(pooled))
        return super().classify(pooled)
