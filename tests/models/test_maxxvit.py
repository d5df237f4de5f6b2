"""MaxViT and CoAtNet: files of the other layout, positions laid out as in TensorFlow, sizes of images."""

from __future__ import annotations

import pytest
import torch

from zoo import create_model
from zoo.core.errors import UsageError
from zoo.models.maxxvit import OffsetPlanes, repair_keys


def test_weights_of_linear_layers_become_those_of_convolutions() -> None:
    model = create_model("test_coatnet", img_size=64)
    state = model.state_dict()
    key = "stages.2.blocks.0.attn.qkv.weight"
    assert state[key].ndim == 4
    other = {name: value.flatten(1) if ".attn.qkv.w" in name else value for name, value in state.items()}
    repaired = repair_keys(other, model)
    assert repaired.keys() == state.keys()
    assert all(repaired[name].shape == value.shape for name, value in state.items())


def test_planes_are_read_by_the_offset_from_query_to_key() -> None:
    layer = OffsetPlanes((2, 3), num_heads=1)
    planes = torch.arange(15.0).view(1, 3, 5)
    layer.load_state_dict({"relative_position_bias_table": planes})
    biases = layer()
    assert biases.shape == (1, 1, 6, 6)
    # From the cell (0, 0) to (1, 2): the plane's last row and column; the other way its first.
    assert biases[0, 0, 0, 5] == planes[0, 2, 4]
    assert biases[0, 0, 5, 0] == planes[0, 0, 0]


def test_windows_fit_multiples_of_the_image() -> None:
    model = create_model("test_maxvit", img_size=32, num_classes=0).eval()
    assert model(torch.zeros(1, 3, 64, 32)).shape == (1, 128)
    with pytest.raises(UsageError, match="takes images of 32 x 32"):
        model(torch.zeros(1, 3, 48, 32))
    with pytest.raises(UsageError, match="multiples of 32"):
        create_model("test_maxvit", img_size=48)
    with pytest.raises(UsageError, match="takes images of 32 x 32"):
        create_model("test_coatnet", img_size=32, num_classes=0)(torch.zeros(1, 3, 64, 64))
