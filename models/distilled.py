"""Two classifiers, one taught by the labels and one by a teacher network.

Touvron et al., Training data-efficient image transformers (arXiv:2012.12877), section 4.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.base import ImageModel
from zoo.models.layers.pool import GlobalPool, TokenPool


class DistilledModel(ImageModel):
    """A model with the classifiers `head` and `head_dist`, whose prediction is the mean of both.

    With `set_distilled_training` a model in training returns the pair, for a loss against the labels and one against
    the teacher.
    """

    distilled_training = False

    def set_distilled_training(self, enable: bool = True) -> None:
        """Whether a model in training returns the predictions of both classifiers."""
        self.distilled_training = enable

    @property
    def is_distilled(self) -> bool:
        """Whether there is a prediction that learned from a teacher."""
        return len(self.classifier_paths) == 2

    def classify(self, pooled: Any) -> Any:
        """The mean of the logits, or in distilled training the pair."""
        if self.distilled_training and self.training and self.is_distilled:
            return tuple(self.logits(pooled))
        return super().classify(pooled)


class DistilledTokens(DistilledModel):
    """Where each classifier has a token of its own: the first two of what `forward_features` gives."""

    def make_pool(self, pool_type: str) -> TokenPool:
        if pool_type not in ("", "token"):
            raise UsageError(f"A distilled model pools its two tokens: global_pool='token', found {pool_type!r}.")
        return TokenPool(pool_type, num_prefix_tokens=2)

    def classifier_input(self, x: Tensor) -> Any:
        return [x[:, 0], x[:, 1]] if self.global_pool.pool_type else x

    def embedding(self, pooled: Any) -> Tensor:
        """The mean of both tokens."""
        return (pooled[0] + pooled[1]) / 2 if isinstance(pooled, list) else pooled


class DistilledMean(DistilledModel):
    """Where both classifiers read the mean of the map that `forward_features` gives."""

    def make_pool(self, pool_type: str) -> GlobalPool:
        if pool_type not in ("", "avg"):
            raise UsageError(
                f"The classifiers of {type(self).__name__} read the mean: global_pool='avg', found {pool_type!r}."
            )
        return GlobalPool(pool_type)
