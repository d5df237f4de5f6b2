"""`zoo export` as a pipeline uses it: what it writes and says, and how it fails; row E13."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.graphs import verify
from zoo.core.model.features import FeatureListNet

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MODEL = "test_resnet"
SMALL = ("--img-size", 64)


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights with 5 channels and 7 classes, as `zoo create` writes them."""
    path = tmp_path_factory.mktemp("weights") / "five.safetensors"
    assert errors.run(app, ["create", MODEL, "--in-chans", "5", "--num-classes", "7", "-q", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def exported(weights):
    """What `zoo export five.safetensors` writes, and beside it what it prints with --json."""
    path = weights.with_suffix(".onnx")
    with path.with_suffix(".json").open("w") as printed, contextlib.redirect_stdout(printed):
        assert errors.run(app, ["export", str(weights), *map(str, SMALL), "-o", str(path), "--json"]) == 0
    return path


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """Run `zoo export <words>` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        return Run(errors.run(app, ["export", *map(str, words)]), *capsys.readouterr())

    return run


def model_of(weights, **options):
    return zoo.create_model(MODEL, checkpoint_path=weights, **options).eval()


def stated(path):
    entries = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    return json.loads(entries["zoo"])


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"image": images}), strict=True))


def assert_close(found, expected, tolerance=1e-5):
    assert found.shape == tuple(expected.shape)
    assert np.abs(found - expected.numpy()).max() <= tolerance * expected.abs().max()


def assert_refused(run, code, *words):
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.startswith("zoo: error: ")
    assert "fault in zoo" not in run.stderr
    for word in words:
        assert word in run.stderr
    assert os.listdir() == []


# ---------------------------------------------------------------- what is written


def test_a_file_alone_is_enough_and_the_graph_states_what_it_is(exported, weights):
    document = json.loads(exported.with_suffix(".json").read_text())
    assert document["status"] == "written"
    assert document["verified"]["runtime"] == "ONNX Runtime"
    assert document["verified"]["largest_difference"] <= 1e-5
    assert [shape[0] for shape in document["verified"]["shapes"]] == [1, 3]
    onnx.checker.check_model(str(exported), full_check=True)
    values = stated(exported)
    assert (values["architecture"], values["in_chans"], values["num_classes"]) == (MODEL, 5, 7)
    assert len(values["mean"]) == len(values["std"]) == 5
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert values["origin"] == {"source": "file:five.safetensors", "sha256": sha256}
    assert values["graph"]["input"]["shape"] == ["batch", 5, 64, 64]
    (image,), (logits,) = (onnx.load(str(exported)).graph.input, onnx.load(str(exported)).graph.output)
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["batch", 5, 64, 64]
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["batch", 7]
    images = torch.randn(2, 5, 64, 64)
    with torch.inference_mode():
        assert_close(run_onnx(exported, images.numpy())["logits"], model_of(weights)(images))


def test_the_same_command_writes_the_same_bytes_and_other_ones_need_force(export, exported, weights):
    command = (weights, *SMALL, "--no-verify", "-o", "model.onnx")
    Path("model.onnx").write_bytes(exported.read_bytes())
    assert "unchanged" in export(*command).stdout
    assert str(exported.parent).encode() not in exported.read_bytes()
    Path("model.onnx").write_bytes(b"other")
    assert export(*command).returncode == 6
    assert Path("model.onnx").read_bytes() == b"other"


def test_the_weights_come_back_out_of_the_graph(exported, weights, tmp_path, monkeypatch, capsys):
    """As a file that other commands take without flags, with the bits of the one that the graph was made of."""
    monkeypatch.chdir(tmp_path)
    assert errors.run(app, ["convert", str(exported), "-o", "back.safetensors"]) == 0
    found, expected = load_file("back.safetensors"), load_file(weights)
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    assert set(found) == set(expected) - counters
    assert all(torch.equal(found[name], expected[name]) for name in found)
    capsys.readouterr()
    for words in (["identify"], ["check", MODEL], ["diff", str(weights)], ["create", MODEL, "--weights"]):
        assert errors.run(app, [*words, str(exported)]) == (4 if words[0] == "diff" else 0), capsys.readouterr().err
    assert f"{MODEL} match=exact layout=timm in_chans=5 num_classes=7" in capsys.readouterr().out


def test_features_of_any_size_have_an_output_for_each_level(export, weights):
    run = export(weights, "--features", "--out-indices", "1,3", "--dynamic", "batch,size", "-o", "f.onnx", *SMALL)
    assert run.returncode == 0
    net = FeatureListNet(model_of(weights), (1, 3))
    images = torch.randn(2, 5, 96, 160)
    with torch.inference_mode():
        maps = net(images)
    found = run_onnx("f.onnx", images.numpy())
    assert list(found) == ["layer1", "layer3"]
    for one, expected in zip(found.values(), maps, strict=True):
        assert_close(one, expected)


def test_the_embedding_with_normalisation_takes_values_from_0_to_1(export, weights):
    run = export(weights, "--embedding", "--preprocess", "normalize", "--fuse", *SMALL, "-o", "e.onnx")
    assert run.returncode == 0
    model = model_of(weights, num_classes=0)
    pixels = torch.rand(2, 5, 64, 64)
    mean, std = (torch.tensor(stated("e.onnx")[key])[None, :, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        assert_close(run_onnx("e.onnx", pixels.numpy())["embedding"], model((pixels - mean) / std))


def test_full_preprocessing_takes_pixels_of_any_size(export, weights):
    from zoo.core.images.preprocess import Preprocess
    from zoo.core.images.rasters.raster import Raster

    assert export(weights, "--preprocess", "full", *SMALL, "-o", "p.onnx").returncode == 0
    pixels = np.random.default_rng(0).integers(0, 256, (5, 90, 120), np.uint8)
    model = model_of(weights)
    preprocess = Preprocess.from_cfg({**model.pretrained_cfg, "input_size": (5, 64, 64)}, in_chans=5)
    image = torch.from_numpy(preprocess.array(Raster(pixels=pixels, white=255.0)))
    with torch.inference_mode():
        # Pillow may resize the other axis first, which changes single pixels by a level.
        assert_close(run_onnx("p.onnx", pixels[None])["logits"], model(image[None]), 2e-2)


def test_half_precision_keeps_float32_at_both_ends(export, weights):
    assert export(weights, "--dtype", "float16", *SMALL, "-o", "h.onnx").returncode == 0
    model = onnx.load("h.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    images = torch.randn(2, 5, 64, 64)
    with torch.inference_mode():
        assert_close(run_onnx("h.onnx", images.numpy())["logits"], model_of(weights)(images), 2e-2)


@pytest.mark.parametrize("output", ["model.pt2", "folder"])
def test_other_formats_state_the_same_and_have_the_same_bytes_again(export, exported, weights, output):
    """They are identical to what is there, which the command says."""
    openvino = pytest.importorskip("openvino")
    assert export(weights, *SMALL, "-o", output).returncode == 0
    extra = {"zoo": ""}
    if output == "folder":
        model = openvino.Core().read_model("folder/model.xml")
        assert [model.inputs[0].any_name, model.outputs[0].any_name] == ["image", "logits"]
        extra["zoo"] = model.get_rt_info(["zoo"]).astype(str)
    else:
        torch.export.load("model.pt2", extra_files=extra)
    assert json.loads(extra["zoo"]) == stated(exported)
    assert "unchanged" in export(weights, *SMALL, "--no-verify", "-o", output).stdout


# ---------------------------------------------------------------- how it fails


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "model.onnx", "--opset", "9"), ("--opset takes a version from 18", "found 9")),
        (("-o", "model.pt2", "--opset", "20"), ("--opset is about ONNX",)),
        (("-o", "model.tflite"), (".onnx, .pt2, or none",)),
        (("-o", "model.onnx", "--dtype", "int8"), ("--dtype takes one of float32, float16",)),
        (("-o", "model.onnx", "--dynamic", "colour"), ("--dynamic takes batch, size",)),
        (("-o", "model.onnx", "--features", "--embedding"), ("both say what the graph gives",)),
        (("-o", "model.onnx", "--out-indices", "1"), ("--out-indices chooses feature levels",)),
        (("-o", "model.onnx", "--preprocess", "some"), ("--preprocess takes one of",)),
        (("-o", "model.onnx", "--key", "model"), ("--key is about a weight file",)),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(export, words, told):
    assert_refused(export(MODEL, *words), 2, *told)


def test_e13_a_graph_that_gives_other_numbers_is_not_written(export, weights, monkeypatch):
    right = verify._run
    monkeypatch.setattr(verify, "_run", lambda network, images: [one * 1.001 for one in right(network, images)])
    run = export(weights, *SMALL, "-o", "model.onnx")
    assert_refused(run, 4, "differs from the model in torch by 1.0e-03", "nothing was written", "--tolerance")


@pytest.mark.parametrize("output", ["model.onnx", "folder"])
def test_a_missing_package_is_named_with_its_extra(export, weights, monkeypatch, output):
    package = "onnxscript" if output == "model.onnx" else "openvino"
    monkeypatch.setitem(sys.modules, package, None)
    extra = "onnx" if output == "model.onnx" else "openvino"
    run = export(weights, *SMALL, "-o", output)
    assert_refused(run, 4, f"needs {package}, which is not installed", f"pip install 'zoo-cli[{extra}]'")


def test_weights_for_one_size_cannot_leave_the_size_open(export, tmp_path):
    model = zoo.create_model("test_vit", seed=0)
    save_file(model.state_dict(), tmp_path.parent / "vit.safetensors")
    run = export(tmp_path.parent / "vit.safetensors", "--dynamic", "size", "-o", "model.onnx")
    assert_refused(run, 4, "are for images of 160 x 160 pixels alone", "--img-size")


def test_a_network_that_cannot_be_recorded_says_why(export, weights, monkeypatch):
    """Row E13: what torch cannot record becomes one sentence."""
    from zoo.models.resnet import ResNet

    def forward_features(self, x):
        if x.sum() > 0:  # no graph can hold a decision about values
            return self.layer1(x)
        return x

    monkeypatch.setattr(ResNet, "forward_features", forward_features)
    run = export(weights, *SMALL, "-o", "model.onnx")
    assert_refused(run, 4, "The model cannot be exported: ")
    assert len(run.stderr.splitlines()) == 2


def test_a_folder_with_the_name_of_a_model_is_not_taken_for_its_weights(export, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path.parent / "hub"))
    Path(MODEL).mkdir()
    run = export(MODEL, "--offline", "-o", "model.onnx")
    assert run.returncode == 5
    assert "test_resnet" in run.stderr


def test_a_file_that_tells_no_architecture_asks_for_the_name(export, tmp_path):
    save_file({"a.weight": torch.zeros(3)}, tmp_path.parent / "unknown.safetensors")
    run = export(tmp_path.parent / "unknown.safetensors", "-o", "model.onnx")
    assert_refused(run, 4, "does not tell which architecture it holds", "zoo identify")


def test_help_and_bad_requests_do_not_import_torch():
    code = (
        "import sys\n"
        "from zoo.cli import errors\n"
        "from zoo.cli.app import app\n"
        "assert errors.run(app, ['export', '--help']) == 0\n"
        "assert errors.run(app, ['export', 'test_resnet', '-o', 'm.onnx', '--opset', '1']) == 2\n"
        "assert not {'torch', 'numpy', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
