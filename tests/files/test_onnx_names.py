"""Weights of graphs that other programs wrote get the names of their layers back."""

import numpy as np
import pytest
import torch
import torch.nn as nn

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.files.checkpoint.onnx_names import Found, Node, parameters_of
from zoo.core.files.open_weights import open_weights
from zoo.core.model.save import save_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

EXPORTERS = {"first": {"dynamo": False, "opset_version": 17}, "second": {"dynamo": True, "verbose": False}}
"""torch.onnx has two: one traces, the other records with torch.export."""


@torch.no_grad()
def trained(model):
    """A network whose tensors all differ: exporters join equal ones, and drop a bias of zeros."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval()


def exported(model, images, path, exporter):
    """The file, by torch.onnx with its defaults: with folded norms, and in the second case data in another file."""
    torch.onnx.export(model, (images,), str(path), **EXPORTERS[exporter])
    return path


def values_in(path):
    with open_weights(path) as opened:
        found = {name: np.frombuffer(bytes(t.read()), "<f4").reshape(t.shape) for name, t in opened.tensors.items()}
        return found, opened


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",  # norms behind convolutions
        "test_efficientnet",
        "test_vit",  # products with transposed weights, and tokens
        "test_convnext3",  # scales of residual branches
        pytest.param("vgg11_bn", marks=pytest.mark.full),  # norms behind convolutions that have a bias
        pytest.param("resnetv2_50", marks=pytest.mark.full),  # norms before convolutions, which stay
        pytest.param("convnextv2_atto", marks=pytest.mark.full),  # scales and shifts of responses
        pytest.param("poolformer_s12", marks=pytest.mark.full),  # group norms
    ],
)
def test_a_network_that_torch_wrote_is_whole_again(tmp_path, monkeypatch, name, exporter):
    monkeypatch.chdir(tmp_path)
    model = trained(create_model(name, in_chans=4, num_classes=5, seed=0))
    images = torch.randn(1, 4, *model.pretrained_cfg["input_size"][1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images)
    exported(model, images, tmp_path / "model.onnx", exporter)
    assert errors.run(app, ["convert", "model.onnx", "--arch", name, "-o", "weights.safetensors"]) == 0
    needs_convert = name in ("convnextv2_atto", "poolformer_s12")  # a scale within a layer has no name
    for path in ("weights.safetensors",) if needs_convert else ("weights.safetensors", "model.onnx"):
        again = create_model(name, checkpoint_path=path).eval()
        assert (again.in_chans, again.num_classes) == (4, 5)
        with torch.no_grad():
            found = again(images)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.filterwarnings("ignore")
def test_norms_that_were_folded_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = trained(create_model("test_resnet", seed=0))
    exported(model, torch.randn(1, 3, 160, 160), tmp_path / "model.onnx", "first")
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for words in (
        ["create", "test_resnet", "--weights", "model.onnx"],
        ["convert", "model.onnx", "-o", "w.safetensors"],
    ):
        assert errors.run(app, words) == 0
        assert f"note: {norms} batch norms were folded into the layer before" in capsys.readouterr().err
    assert errors.run(app, ["check", "test_resnet", "model.onnx"]) == 0
    assert errors.run(app, ["identify", "w.safetensors"]) == 0
    net = create_model("test_resnet", checkpoint_path="model.onnx", features_only=True).eval()
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        for found, expected in zip(
            net(images), model.forward_intermediates(images, intermediates_only=True), strict=True
        ):
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_norms_that_zoo_folded_come_back_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = trained(create_model("test_resnet", in_chans=4, seed=0))
    save_model(model, PretrainedCfg.from_mapping(model.pretrained_cfg), "mine.safetensors", origin={})
    assert errors.run(app, ["export", "mine.safetensors", "--fuse", "--no-verify", "-o", "model.onnx"]) == 0
    capsys.readouterr()
    assert (
        errors.run(app, ["adapt-weights", "test_resnet", "--weights", "model.onnx", "--in-chans", "5", "-o", "x"]) == 4
    )
    assert "zoo convert model.onnx -o weights.safetensors" in capsys.readouterr().err
    assert errors.run(app, ["convert", "model.onnx", "-o", "weights.safetensors"]) == 0
    again = create_model("test_resnet", checkpoint_path="weights.safetensors").eval()
    images = torch.randn(1, 4, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = again(images), model(images)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert errors.run(app, ["adapt-weights", "weights.safetensors", "--in-chans", "5", "-o", "y.safetensors"]) == 0


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.rest = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3, bias=False))

    def forward(self, x):
        return self.rest(self.first(x).relu())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_products_are_transposed_back(tmp_path, exporter):
    model = trained(TwoLayers())
    images = torch.randn(1, 5, 6)
    found, opened = values_in(exported(model, images, tmp_path / "model.onnx", exporter))
    assert opened.notes() == ()
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(found[name], value), name


def test_data_in_another_file_may_be_larger_than_the_model(tmp_path):
    """torch.onnx writes them so by default, and the model alone is some kilobytes."""
    values = np.random.default_rng(0).random((1024, 512), np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 512])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1024])
    node = helper.make_node("Gemm", ["image", "fc.weight"], ["logits"], transB=1)
    graph = helper.make_graph([node], "g", [image], [logits], [numpy_helper.from_array(values, "fc.weight")])
    path = tmp_path / "model.onnx"
    onnx.save_model(helper.make_model(graph), str(path), save_as_external_data=True, location="model.onnx.data")
    found, _ = values_in(path)
    assert np.array_equal(found["fc.weight"], values)


# ---------------------------------------------------------------- by the operations


def node(kind, name, *inputs, output="", **options):
    return Node(kind, name, inputs, (output or f"{name}_output",), **options)


def test_a_layer_of_a_sequential_repeats_the_name_before_it():
    assert node("Conv", "/blocks/blocks.0/blocks.0.1/conv_pw/Conv").module == "blocks.0.1.conv_pw"
    assert node("Add", "", scopes="['', 'blocks', 'blocks.0', 'blocks.0.attn.qkv', 'linear']").module == (
        "blocks.0.attn.qkv"
    )
    assert node("Conv", "Conv_17").module == ""


def test_a_tensor_that_was_stored_once_is_in_both_layers():
    nodes = [
        node("Identity", "Identity_1", "a.norm.bias", output="b.norm.bias"),
        node("LayerNormalization", "", "x", "a.fc.weight", scopes="['', 'a', 'a.fc', 'f']"),
        node("LayerNormalization", "", "x", "a.fc.weight", scopes="['', 'b', 'b.fc', 'f']"),
    ]
    found = parameters_of(nodes, {"a.norm.bias": (4,), "a.fc.weight": (4,)})
    assert found == {"b.norm.bias": Found("a.norm.bias"), "b.fc.weight": Found("a.fc.weight")}


def test_a_layer_that_another_module_calls_is_no_second_one():
    nodes = [node("LayerNormalization", "/norm/LayerNormalization", "x", "head.norm.weight", "head.norm.bias")]
    assert parameters_of(nodes, {"head.norm.weight": (4,), "head.norm.bias": (4,)}) == {}


def test_a_product_of_maps_is_no_layer():
    nodes = [node("MatMul", "/attn/MatMul", "q", "k"), node("MatMul", "/attn/MatMul_1", "p", "onnx::MatMul_7")]
    assert parameters_of(nodes, {"onnx::MatMul_7": (2, 3, 4)}) == {}


def test_a_weight_that_no_layer_names_is_told(tmp_path):
    table = numpy_helper.from_array(np.ones((3, 4), np.float32), "onnx::Add_9")
    kept = numpy_helper.from_array(np.ones((4,), np.float32), "fc.bias")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [3, 4])
    nodes = [helper.make_node("Add", ["image", "onnx::Add_9"], ["a"]), helper.make_node("Add", ["a", "fc.bias"], ["b"])]
    graph = helper.make_graph(
        nodes, "g", [image], [helper.make_tensor_value_info("b", TensorProto.FLOAT, [3, 4])], [table, kept]
    )
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    _, opened = values_in(tmp_path / "model.onnx")
    assert opened.notes() == ("left out, as no layer of the graph names it: onnx::Add_9",)
