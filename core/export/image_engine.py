"""What computes the features of a batch of images: an interface, so that runs do not depend on the runtime."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class ImageFeatures(NamedTuple):
    """The maps of one image, float32, and the number of NaN and infinite values in them."""

    maps: list[NDArray[np.float32]]
    nonfinite: int


class ImageEngine(Protocol):
    """Computes the features of images.

    `channels_innermost` says whether it takes batches with their channels innermost in memory, or outermost.
    """

    channels_innermost: bool

    def per_image(self, batch: NDArray[np.float32]) -> list[ImageFeatures]:
        """The features of each image in a batch (N, C, H, W)."""

    def to_dict(self) -> dict[str, Any]:
        """The settings that affect the output values, as plain values for a `config.json`."""
