"""A graph gives what the model gives, in the runtimes that people use, for every family and any number of channels."""

import copy

import numpy as np
import pytest
import torch

from zoo.core.architectures import published, registry
from zoo.core.errors import UsageError
from zoo.core.files.open_weights import open_weights
from zoo.core.graphs.job import write_graph
from zoo.core.graphs.request import GraphRequest
from zoo.core.graphs.source import Origin

from golden import build, recorded_outputs, smallest

onnxruntime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5
ORIGIN = Origin("file:made.safetensors", "0" * 64)
CHANNELS = (3, 1, 13)

QUICK = {
    "test_resnet": {}, "test_efficientnet": {}, "test_byobnet": {}, "test_convnext": {}, "test_vit": {},
    "vit_tiny_patch16_dinov3_qkvb": {"depth": 1}, "vit_relpos_small_patch16_224": {"depth": 1},
    "deit_tiny_patch16_224": {"depth": 1}, "mixer_s32_224": {"num_blocks": 1}, "convmixer_768_32": {"depth": 1},
    "cait_xxs24_224": {"depth": 1}, "beit_base_patch16_224": {"depth": 1},
}  # fmt: skip
"""A small member of each of twelve families, or one with a block of each kind."""


def small_model(name, in_chans, **options):
    """A model with random weights and no layer that gives zeros."""
    model = build(name, seed=0, in_chans=in_chans, **options).eval()
    for key, parameter in model.named_parameters():
        if key.startswith(model.classifier_paths) and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def size_of(model):
    return tuple(recorded_outputs(model)["input_size"][1:])


def request_for(model, output, **options):
    outputs = "logits" if model.num_classes else "embedding"
    return GraphRequest(output=output, outputs=outputs, img_size=size_of(model), verify=False, **options)


def images_for(model, number):
    return torch.randn(number, model.in_chans, *size_of(model), generator=torch.Generator().manual_seed(number))


@torch.inference_mode()
def assert_equal(run, model):
    """A graph gives what the model gives for one image and for several.

    A network that magnifies differences, as visformer_tiny does, is as far from itself in float64.
    """
    for number in (1, 3):
        images = images_for(model, number)
        expected = model(images).numpy()
        found = run(images.numpy())
        assert found.shape == expected.shape
        scale = np.abs(expected).max()
        if np.abs(found - expected).max() > TOLERANCE * scale:
            exact = copy.deepcopy(model).double()(images.double()).numpy()
            assert np.abs(found - exact).max() <= max(TOLERANCE * scale, np.abs(expected - exact).max())


def assert_weights_are_those_of(path, model):
    """The weights that zoo takes out of a graph have the bits of the model's."""
    with open_weights(path) as opened:
        found = {name: bytes(tensor.read()) for name, tensor in opened.tensors.items()}
    expected = {n: t.numpy().tobytes() for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert {name: found.get(name) == data for name, data in expected.items()} == dict.fromkeys(expected, True)


def with_onnxruntime(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images})[0]


def with_openvino(path):
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)[0]


def with_torch(path):
    module = torch.export.load(str(path)).module()
    return lambda images: module(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize(("number", "name"), list(enumerate(QUICK)), ids=list(QUICK))
def test_onnx_of_a_small_network(number, name, tmp_path):
    model = small_model(name, CHANNELS[number % len(CHANNELS)], **QUICK[name])
    path = tmp_path / "model.onnx"
    write_graph(model, ORIGIN, request_for(model, path))
    assert_equal(with_onnxruntime(path), model)
    assert_weights_are_those_of(path, model)
    if number % 2:
        assert_equal(with_openvino(path), model)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_pt2_of_a_small_network(name, tmp_path):
    model = small_model(name, 5)
    path = tmp_path / "model.pt2"
    write_graph(model, ORIGIN, request_for(model, path))
    assert_equal(with_torch(path), model)
    assert set(torch.export.load(str(path)).state_dict) == set(model.state_dict())


@pytest.mark.full
@pytest.mark.parametrize("in_chans", CHANNELS)
@pytest.mark.parametrize("family", registry.families())
def test_every_family(family, in_chans, tmp_path):
    model = small_model(smallest(family), in_chans)
    path = tmp_path / "model.onnx"
    if in_chans != 3 and not published.task_layers_of(smallest(family)).first_conv:
        with pytest.raises(UsageError, match="reads three colours"):
            write_graph(model, ORIGIN, request_for(model, path))
        return
    write_graph(model, ORIGIN, request_for(model, path))
    assert_equal(with_onnxruntime(path), model)
    if in_chans == 3:
        write_graph(model, ORIGIN, request_for(model, tmp_path / "model.pt2"))
        assert_equal(with_torch(tmp_path / "model.pt2"), model)
