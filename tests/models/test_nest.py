"""NesT: blocks that see nothing of each other within a level, and its pooling with TensorFlow's padding."""

import numpy as np
import pytest
import torch

import zoo
from zoo.core.errors import UsageError
from zoo.models.layers.max_pool_same import MaxPool2dSame

SMALL = {"embed_dims": (8, 8), "num_heads": (2, 2), "depths": (1, 1)}


def test_cells_see_those_of_their_block():
    level = zoo.create_model("nest_tiny", img_size=32, seed=0, **SMALL).eval().levels[0]
    map_ = torch.randn(1, 8, 8, 8)
    changed = map_.clone()
    changed[0, 1, 6, 0] += 1
    with torch.inference_mode():
        differs = (level(map_) != level(changed)).any(-1)[0]
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:4, 4:] = True
    assert torch.equal(differs, expected)


@pytest.mark.parametrize("size", [(64, 96), 40])
def test_images_that_do_not_divide_into_blocks(size):
    with pytest.raises(UsageError, match="multiple of 16"):
        zoo.create_model("nest_tiny", img_size=size)


@pytest.mark.parametrize(("side", "kernel", "stride"), [(6, 3, 2), (7, 3, 2), (5, 2, 2), (6, 3, 1)])
def test_the_padding_of_a_maximum_is_never_the_maximum(side, kernel, stride):
    x = -1 - np.random.default_rng(0).random((1, 1, side, side))
    windows = -(-side // stride)
    before = max((windows - 1) * stride + kernel - side, 0) // 2
    starts = [stride * i - before for i in range(windows)]
    expected = [
        [x[0, 0, max(row, 0) : row + kernel, max(column, 0) : column + kernel].max() for column in starts]
        for row in starts
    ]
    found = MaxPool2dSame(kernel, stride)(torch.from_numpy(x))
    assert np.array_equal(found[0, 0], expected)
