"""Preprocessing as tensor operations gives what Pillow gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.core.errors import UsageError
from zoo.core.graphs.preprocessing import Normalize, ResizeCropNormalize
from zoo.core.images.preprocess import Preprocess

DATA = Path(__file__).parents[1] / "data"
LEVEL = 1 / 255
PHOTOGRAPHS = ("chelsea", "coffee")


def as_batch(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interpolation": "bilinear"},
        {"interpolation": "lanczos", "crop_pct": 1.0},
        {"crop_mode": "squash"},
        {"size": (64, 96)},
        {"size": (640, 640), "crop_pct": 0.9},  # which enlarges
    ],
)
def test_photographs_are_resized_as_pillow_does(photograph, options):
    """Within a level of 8 bits: which axis Pillow resizes first depends on its version and the sizes."""
    preprocess = Preprocess(**{"size": (96, 96), **options})
    image = Image.open(DATA / f"{photograph}.png").convert("RGB")
    expected = preprocess.array(image)
    found = ResizeCropNormalize(preprocess)(as_batch(np.array(image)))[0].numpy()
    levels = np.abs(found - expected) * np.array(preprocess.std)[:, None, None] / LEVEL
    assert found.shape == expected.shape
    assert levels.max() < 1.01
    assert levels.mean() < 0.05


def test_normalising_follows_the_formula():
    preprocess = Preprocess(mean=(0.5, 0.25, 0.0, 0.125), std=(0.5, 0.25, 1.0, 2.0))
    images = torch.rand(2, 4, 3, 5)
    for channel, (mean, std) in enumerate(zip(preprocess.mean, preprocess.std, strict=True)):
        found = Normalize(preprocess)(images)[:, channel]
        torch.testing.assert_close(found, (images[:, channel] - mean) / std)


@pytest.mark.parametrize("options", [{"interpolation": "nearest"}, {"crop_mode": "border"}, {"crop_pct": 1.1}])
def test_a_transform_that_a_graph_cannot_hold_is_refused(options):
    with pytest.raises(UsageError, match="weights are for"):
        ResizeCropNormalize(Preprocess(**options))
