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
from zoo.core.files.atomic_output import OutputFile
from zoo.core.graphs import onnx_file, verify
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


def test_the_same_command_writes_the_same_bytes(export, exported, weights):
    command = (weights, *SMALL, "--no-verify", "-o", "model.onnx")
    Path("model.onnx").write_bytes(exported.read_bytes())
    assert "unchanged" in export(*command).stdout
    assert str(exported.parent).encode() not in exported.read_bytes()


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


@pytest.mark.full
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


@pytest.mark.full
def test_half_precision_keeps_float32_at_both_ends(export, weights):
    assert export(weights, "--dtype", "float16", *SMALL, "-o", "h.onnx").returncode == 0
    model = onnx.load("h.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    images = torch.randn(2, 5, 64, 64)
    with torch.inference_mode():
        assert_close(run_onnx("h.onnx", images.numpy())["logits"], model_of(weights)(images), 2e-2)


@pytest.mark.parametrize("output", ["model.pt2", "folder"])
def test_other_formats_state_the_same(export, exported, weights, output):
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


@pytest.mark.full
@pytest.mark.parametrize("output", ["model.pt2", "folder"])
def test_other_formats_have_the_same_bytes_again(export, weights, output):
    """They are identical to what is there, which the command says."""
    pytest.importorskip("openvino")
    assert export(weights, *SMALL, "-o", output).returncode == 0
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
    Path("model.pt2").write_bytes(b"older")
    run = export(weights, *SMALL, "--force", "-o", "model.pt2")
    assert Path("model.pt2").read_bytes() == b"older"
    Path("model.pt2").unlink()
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


# ---------------------------------------------------------------- weights that do not fit one file


@pytest.fixture
def too_large(monkeypatch):
    """As if a file of protocol buffers ended at 100 kB, so that the weights lie beside the graph."""
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100_000)


@pytest.fixture
def pair(export, weights, too_large):
    """What `zoo export five.safetensors --json` says of such a graph, which is in the folder."""
    run = export(weights, *SMALL, "-o", "model.onnx", "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def contents():
    return {path.name: path.read_bytes() for path in Path().iterdir()}


def test_weights_that_do_not_fit_lie_beside_the_graph(pair, export, exported, weights):
    graph, data = Path("model.onnx").stat().st_size, Path("model.onnx.data").stat().st_size
    assert (pair["bytes"], pair["data"]) == (graph, {"path": "model.onnx.data", "bytes": data})
    assert json.loads(exported.with_suffix(".json").read_text())["data"] is None
    assert pair["verified"]["runtime"] == "ONNX Runtime"
    assert graph < 100_000 < data
    onnx.checker.check_model("model.onnx", full_check=True)
    images = torch.randn(2, 5, 64, 64)
    with torch.inference_mode():
        assert_close(run_onnx("model.onnx", images.numpy())["logits"], model_of(weights)(images))
    run = export(weights, *SMALL, "--no-verify", "-o", "model.onnx")
    assert run.stdout.splitlines()[0].startswith("model.onnx: unchanged")
    assert run.stdout.splitlines()[1].startswith("  weights in model.onnx.data: ")


def test_the_graph_holds_small_constants_and_refers_to_the_rest_by_name_and_place(pair, exported):
    graph = onnx.load("model.onnx", load_external_data=False).graph
    whole = {tensor.name: tensor for tensor in onnx.load(str(exported)).graph.initializer}
    assert [tensor.name for tensor in graph.initializer] == list(whole)
    data, end = Path("model.onnx.data").read_bytes(), 0
    for tensor in graph.initializer:
        expected = onnx.numpy_helper.to_array(whole[tensor.name])
        if not tensor.external_data:
            assert expected.nbytes < 1024
            assert tensor == whole[tensor.name]
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert entries.keys() == {"location", "offset", "length"}
        assert entries["location"] == "model.onnx.data"
        offset, length = int(entries["offset"]), int(entries["length"])
        assert offset % (4096 if length >= 1 << 20 else 64) == 0
        assert not any(data[end:offset])
        end = offset + length
        assert data[offset:end] == expected.tobytes()
    assert end == len(data)


def test_the_pair_works_in_another_folder_and_every_command_reads_it(pair, weights, capsys):
    os.mkdir("elsewhere")
    for name in ("model.onnx", "model.onnx.data"):
        os.rename(name, f"elsewhere/{name}")
    path = "elsewhere/model.onnx"
    assert errors.run(app, ["convert", path, "-o", "back.safetensors"]) == 0
    found, expected = load_file("back.safetensors"), load_file(weights)
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    assert set(found) == set(expected) - counters
    assert all(torch.equal(found[name], expected[name]) for name in found)
    for words in (["inspect"], ["identify"], ["check", MODEL], ["diff", "back.safetensors"]):
        assert errors.run(app, [*words, path]) == 0, capsys.readouterr().err
    assert f"{MODEL} match=exact layout=timm in_chans=5 num_classes=7" in capsys.readouterr().out
    assert errors.run(app, ["export", path, *map(str, SMALL), "-o", "model.pt2"]) == 0
    os.remove("elsewhere/model.onnx.data")
    assert errors.run(app, ["inspect", path]) == 4
    assert "model.onnx.data" in capsys.readouterr().err


def test_a_graph_that_fits_has_the_bytes_that_it_had(export, exported, weights, monkeypatch):
    whole = exported.read_bytes()
    monkeypatch.setattr(onnx_file, "MAX_BYTES", len(whole))
    assert export(weights, *SMALL, "--no-verify", "-o", "model.onnx").returncode == 0
    assert contents() == {"model.onnx": whole}
    monkeypatch.setattr(onnx_file, "MAX_BYTES", len(whole) - 1)
    assert export(weights, *SMALL, "--no-verify", "-o", "one.onnx").returncode == 0
    assert set(contents()) == {"model.onnx", "one.onnx", "one.onnx.data"}


def test_what_is_there_is_not_replaced_without_force(pair, export, weights):
    ours = contents()
    Path("model.onnx.data").write_bytes(b"mine")
    for there in (("model.onnx", "model.onnx.data"), ("model.onnx.data",)):
        for name in set(ours).difference(there):
            os.remove(name)
        before = contents()
        run = export(weights, *SMALL, "--no-verify", "-o", "model.onnx")
        assert (run.returncode, run.stdout) == (6, "")
        assert "model.onnx.data already exists with other contents." in run.stderr
        assert contents() == before
    assert export(weights, *SMALL, "--no-verify", "--force", "-o", "model.onnx").returncode == 0
    assert contents() == ours


def test_one_file_over_a_pair_leaves_its_weights_and_says_so(pair, export, exported, weights, monkeypatch):
    monkeypatch.undo()
    os.chdir(exported.parent)
    ours = [Path(name) for name in ("over.onnx", "over.onnx.data")]
    ours[1].write_bytes(b"of an earlier graph")
    run = export(weights, *SMALL, "--no-verify", "--force", "-o", "over.onnx")
    assert "note: over.onnx.data is no part of this graph" in run.stderr
    assert [path.read_bytes() for path in ours] == [exported.read_bytes(), b"of an earlier graph"]


def test_e13_a_pair_that_is_not_right_leaves_the_old_one(pair, export, weights, monkeypatch):
    before = contents()
    right = verify._run
    with monkeypatch.context() as patched:
        patched.setattr(verify, "_run", lambda network, images: [one * 1.001 for one in right(network, images)])
        assert export(weights, "--img-size", 96, "--force", "-o", "model.onnx").returncode == 4
        assert contents() == before
        assert export(weights, *SMALL, "-o", "new.onnx").returncode == 4
        assert contents() == before

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OutputFile, "reserve", full)
    run = export(weights, "--img-size", 96, "--force", "-o", "model.onnx")
    assert (run.returncode, run.stdout) == (6, "")
    assert run.stderr.startswith("zoo: error: model.onnx could not be written: No space left on device.")
    assert contents() == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (os.fsdecode(b"\xff.onnx"), "not UTF-8"),
        ("n" * 250 + ".onnx", "File name too long"),
        ("linked.onnx", "is a link"),
    ],
)
def test_a_name_that_a_pair_cannot_have(export, weights, too_large, name, told):
    if "link" in name:
        Path("real.onnx").touch()
        Path(name).symlink_to("real.onnx")
    before = os.listdir()
    run = export(weights, *SMALL, "--no-verify", "--force", "-o", name)
    assert run.returncode == 6
    assert told in run.stderr
    assert os.listdir() == before


def test_openvino_reads_weights_that_do_not_fit_from_beside_the_folder(export, weights, monkeypatch):
    pytest.importorskip("openvino")
    assert export(weights, *SMALL, "-o", "whole").returncode == 0
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100_000)
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    run = export(weights, *SMALL, "-o", "folder")
    assert run.returncode == 0, run.stderr
    assert "verified in OpenVINO" in run.stdout
    assert sorted(os.listdir()) == ["folder", "whole"]
    assert sorted(os.listdir("folder")) == ["model.bin", "model.xml"]
    assert all((Path("folder") / one).read_bytes() == (Path("whole") / one).read_bytes() for one in os.listdir("whole"))


def test_a_disk_that_is_full_for_openvino_is_told_by_what_the_system_says(export, weights, monkeypatch):
    openvino = pytest.importorskip("openvino")

    def save_model(*_, **__):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", save_model)
    run = export(weights, *SMALL, "-o", "folder")
    assert_refused(run, 6, "OpenVINO could not write the model: basic_ios::clear")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OutputFile, "reserve", full)
    run = export(weights, *SMALL, "-o", "folder")
    assert_refused(run, 6, "folder could not be written: No space left on device.")
