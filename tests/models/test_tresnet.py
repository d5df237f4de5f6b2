"""TResNet: its space-to-depth stem, how that is adapted to other channels, and the authors' own files."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.core.architectures.registry import find_spec
from zoo.core.channels.stem import known_layout
from zoo.core.errors import UsageError
from zoo.models.layers.space_to_depth import SpaceToDepth
from zoo.models.tresnet import repair_keys

SMALL = {"layers": (1, 1, 1, 1), "width_factor": 0.25}
STEM = "body.conv1.conv.weight"


def tresnet(**options):
    return zoo.create_model("tresnet_m", **SMALL, **options).eval()


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("tresnet") / "source.safetensors"
    save_file(tresnet(seed=1).state_dict(), path)
    return path


def test_space_to_depth():
    x = np.arange(2 * 3 * 8 * 12).reshape(2, 3, 8, 12)
    found = SpaceToDepth(4)(torch.from_numpy(x)).numpy()
    assert found.shape == (2, 48, 2, 3)
    for row, column, c in ((0, 0, 0), (1, 2, 0), (3, 3, 2), (2, 0, 1)):
        assert (found[:, (row * 4 + column) * 3 + c] == x[:, c, row::4, column::4]).all()


def test_the_architecture_says_how_its_stem_lies():
    assert str(known_layout("tresnet_m")) == find_spec("tresnet_m")[1].input_layout == "blocks:16"
    assert str(known_layout("resnet18")) == "conv"
    assert str(known_layout("no_such_net")) == "conv"


@pytest.mark.parametrize("in_chans", [6, 9])
def test_an_adapted_model_sees_a_repeated_image_as_the_source_sees_it_once(path, in_chans):
    """f_N(tile(x)) = f_C(x) where 3 divides N: what repeating the filters and dividing them promises."""
    source = tresnet(checkpoint_path=path)
    model = tresnet(checkpoint_path=path, in_chans=in_chans)
    assert model.load_report.adapted == (STEM,)
    x = random(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(x.repeat(1, in_chans // 3, 1, 1)), source(x), atol=1e-5, rtol=1e-4)


def test_one_channel_is_the_sum_of_the_colours(path):
    source = tresnet(checkpoint_path=path)
    model = tresnet(checkpoint_path=path, in_chans=1)
    x = random(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), source(x.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-4)


def test_the_file_job_adapts_as_the_loader_does(path, tmp_path):
    out = tmp_path / "five.safetensors"
    command = [sys.executable, "-P", "-m", "zoo", "adapt-weights", path, "--in-chans", "5", "-o", out]
    layer = ["--input-layer", "body.conv1.conv", "--input-layout", "blocks:16"]
    subprocess.run([*command, *layer], check=True, capture_output=True)
    assert torch.equal(load_file(out)[STEM], tresnet(checkpoint_path=path, in_chans=5).state_dict()[STEM])


def test_the_first_level_is_given_where_it_is_named():
    model = tresnet(features_only=True)
    assert model.feature_info.out_indices == (1, 2, 3, 4)
    assert model.feature_info.reduction() == [4, 8, 16, 32]
    finest = tresnet(features_only=True, out_indices=(0,))
    assert finest(random(1, 3, 64, 64))[0].shape[2:] == (16, 16)
    assert not hasattr(finest.body, "layer1")


def test_the_authors_files():
    """Names of github.com/Alibaba-MIIL/TResNet; a norm of theirs scales by abs(weight) + 1e-5."""
    names = {
        "body.conv1.0.weight": STEM,
        "body.conv1.1.running_mean": "body.conv1.bn.running_mean",
        "body.layer1.0.conv2.0.weight": "body.layer1.0.conv2.conv.weight",
        "body.layer2.0.conv1.0.0.weight": "body.layer2.0.conv1.conv.weight",
        "body.layer2.0.conv1.0.1.bias": "body.layer2.0.conv1.bn.bias",
        "body.layer2.0.downsample.1.0.weight": "body.layer2.0.downsample.1.conv.weight",
        "body.layer2.0.downsample.1.1.weight": "body.layer2.0.downsample.1.bn.weight",
        "body.layer1.0.se.fc1.weight": "body.layer1.0.se.fc1.weight",
        "head.fc.weight": "head.fc.weight",
    }
    model = tresnet()
    repaired = repair_keys({name: torch.tensor([-2.0, 3.0]) for name in names}, model)
    assert list(repaired) == list(names.values())
    assert set(repaired) <= set(model.state_dict())
    assert repaired["body.layer2.0.downsample.1.bn.weight"].tolist() == pytest.approx([2.00001, 3.00001])
    assert repaired["body.layer2.0.conv1.bn.bias"].tolist() == [-2.0, 3.0]
    assert repair_keys(repaired, model) is repaired


def test_output_stride_is_no_option():
    with pytest.raises(TypeError, match="output_stride"):
        tresnet(output_stride=16)


def test_pooling_needs_a_known_name():
    with pytest.raises(UsageError, match="global_pool"):
        tresnet(global_pool="mean")
