"""Features that another program than torch computes: the same numbers, a graph that is made once, and a record."""

import copy
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures import registry
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.export import graph_engine
from zoo.core.export.engine import FeatureEngine
from zoo.core.export.graph_engine import WORTHWHILE, GraphEngine, choose_graph_precision, choose_runtime
from zoo.core.export.pool import pooled_model
from zoo.core.files.atomic_output import OutputFile
from zoo.core.graphs import cache, onnx_file
from zoo.core.images.preprocess import Preprocess
from zoo.core.model.features import FeatureListNet

from feature_checks import TOLERANCE, difference, maps_of, noise, one_by_one, with_scales, with_statistics
from golden import build, golden, smallest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

PREPROCESS = Preprocess(size=(64, 64))
FACTS = {"weights": {"sha256": "0" * 64}, "pool": "none"}
NAMES = ("layer1", "layer3")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A folder of its own for stored graphs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "zoo" / "graphs"


@pytest.fixture(scope="module")
def model():
    return with_statistics(zoo.create_model("test_resnet", seed=0))


@pytest.fixture(scope="module")
def net(model):
    return FeatureListNet(model, (1, 3))


class TwoMaps(nn.Module):
    """A network that is exported at once."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3, stride=2)])

    def forward(self, x):
        first = self.layers[0](x)
        return [first, self.layers[1](first)]


@pytest.fixture(scope="module")
def two_maps():
    return TwoMaps().eval()


def engine(net, runtime="onnxruntime", names=NAMES, facts=FACTS, **options):
    return GraphEngine(net, PREPROCESS, (64, 64), names, runtime=runtime, facts=facts, **options)


def without_tracing(monkeypatch):
    def trace(*_):
        raise AssertionError("the graph is there already")

    monkeypatch.setattr(cache, "trace", trace)


# ---------------------------------------------------------------- the same numbers


def test_maps_are_those_of_a_plain_loop_and_the_graph_is_made_once(net, state, monkeypatch):
    images = noise(5, 3, 64, 64)
    found = engine(net).start(images.numpy())()
    assert difference(maps_of(found), one_by_one(net, images)) <= TOLERANCE
    assert [one.nonfinite for one in found] == [0] * 5
    (stored,) = state.glob("*.onnx")
    without_tracing(monkeypatch)
    again = engine(net).start(images.numpy())()
    assert difference(maps_of(again), maps_of(found)) == 0
    assert json.loads(stored.with_suffix(".json").read_text())["verified"] == ["onnxruntime"]
    # Another runtime takes the same graph, and is compared with torch too.
    pytest.importorskip("openvino")
    found = engine(net, "openvino").start(images.numpy())()
    assert difference(maps_of(found), one_by_one(net, images)) <= TOLERANCE
    assert json.loads(stored.with_suffix(".json").read_text())["verified"] == ["onnxruntime", "openvino"]
    half = engine(net, "openvino", precision="bfloat16")
    plain = FeatureEngine(net, (3, 64, 64), precision="bfloat16")
    rounding = difference(plain(images), one_by_one(net, images))
    assert difference(maps_of(half.start(images.numpy())()), one_by_one(net, images)) <= 2 * rounding
    assert half.to_dict() == {"device": "cpu", "runtime": "openvino", "precision": "bfloat16"}


@pytest.mark.parametrize("pool", ["avg", pytest.param("embedding", marks=pytest.mark.full)])
def test_pooled_features_of_images_of_any_size(model, net, pool):
    pooled = pooled_model(net if pool == "avg" else model, pool)
    names = NAMES if pool == "avg" else ("embedding",)
    graph = engine(pooled, names=names, facts={**FACTS, "pool": pool}, any_size=True)
    for size in ((64, 64), (96, 160)):
        images = noise(2, 3, *size)
        assert difference(maps_of(graph.start(images.numpy())()), one_by_one(pooled, images)) <= TOLERANCE


def families():
    """BEiT's attention learns a bias, and takes another path for parameters that learn, as those of a model do."""
    quick = {"beit"}
    for family in registry.families():
        yield pytest.param(family, marks=() if family in quick else pytest.mark.full, id=family)


@pytest.mark.parametrize("family", list(families()))
def test_a_model_of_every_family_as_it_is_built(family):
    options = {"depth": 2} if family == "beit" else {}
    model = with_scales(with_statistics(build(smallest(family), seed=0, **options)))
    net = FeatureListNet(model, range(len(model.feature_info)))
    size = golden(family)[smallest(family)]["outputs"]["input_size"][1:]
    names = [f"level{index}" for index in range(len(model.feature_info))]
    graph = GraphEngine(net, Preprocess(size=tuple(size)), tuple(size), names, runtime="onnxruntime")
    images = noise(3, 3, *size)
    with torch.inference_mode():
        expected = net(images)
        exact = copy.deepcopy(net).double()(images.double())
    # A network that magnifies differences is as far from itself in float64.
    assert difference(maps_of(graph.start(images.numpy())()), expected) <= max(
        TOLERANCE, 2 * difference(expected, exact)
    )
    assert any(parameter.requires_grad for parameter in model.parameters())  # the given model stays what it is


def test_numbers_that_are_not_finite_are_counted(two_maps):
    images = noise(3, 3, 64, 64).numpy()
    images[1] = np.inf
    found = engine(two_maps).start(images)()
    assert found[0].nonfinite == found[2].nonfinite == 0
    assert found[1].nonfinite == sum(int((~np.isfinite(m)).sum()) for m in found[1].maps) > 0


# ---------------------------------------------------------------- what is stored


def test_what_changes_the_numbers_makes_another_graph(two_maps, state, monkeypatch):
    made = []

    class Made:
        def one_file(self):
            return b"graph"

    monkeypatch.setattr(cache, "_made", lambda *given: made.append(given) or Made())
    monkeypatch.setattr(cache, "verify", lambda *_, **__: None)
    monkeypatch.setitem(cache.RUNTIMES, "onnxruntime", cache.RUNTIMES["onnxruntime"]._replace(open=lambda *_: None))
    other = {**FACTS, "weights": {"sha256": "1" * 64}}
    for facts, names in ((FACTS, NAMES), (other, NAMES), (FACTS, ("a", "b")), (FACTS, NAMES), ({}, NAMES)):
        engine(two_maps, facts=facts, names=names)
    assert len(made) == 4  # the first three, and the one without a digest
    assert len(list(state.glob("*.onnx"))) == 3
    engine(two_maps, facts={})
    assert len(made) == 5
    monkeypatch.setattr(cache, "MAX_BYTES", 12)  # of 5 bytes each
    engine(two_maps, names=("c", "d"))
    assert len(list(state.glob("*.onnx"))) == len(list(state.glob("*.json"))) == 2


def test_a_damaged_graph_is_made_again(two_maps, state):
    engine(two_maps)
    (stored,) = state.glob("*.onnx")
    data = stored.read_bytes()
    stored.write_bytes(data[:-1] + b"x")
    engine(two_maps)
    assert stored.read_bytes() == data


@pytest.fixture
def too_large(monkeypatch):
    """As if a file of protocol buffers ended at a kilobyte, so that weights lie beside the graph."""
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_that_is_too_large_for_one_file_is_stored_with_its_weights(net, state, too_large, monkeypatch, runtime):
    pytest.importorskip(runtime)
    images = noise(2, 3, 64, 64)
    found = engine(net, runtime).start(images.numpy())()
    assert difference(maps_of(found), one_by_one(net, images)) <= TOLERANCE
    (stored,) = state.glob("*.onnx")
    record = json.loads(stored.with_suffix(".json").read_text())
    data = Path(f"{stored}.data")
    assert record["sha256"] == hashlib.sha256(stored.read_bytes()).hexdigest()
    assert record["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert {path.name for path in state.iterdir()} == {stored.name, data.name, stored.with_suffix(".json").name}
    with monkeypatch.context() as patched:
        without_tracing(patched)
        assert difference(maps_of(engine(net, runtime).start(images.numpy())()), maps_of(found)) == 0
    # A byte of the weights that is not as it was, or a file that is gone, makes the graph anew.
    whole = data.read_bytes()
    for damage in (lambda: data.write_bytes(b"x" + whole[1:]), data.unlink, lambda: data.write_bytes(whole[:-1])):
        damage()
        engine(net, runtime)
        assert data.read_bytes() == whole


def test_another_runtime_takes_the_stored_pair_and_is_compared_too(two_maps, state, too_large, monkeypatch):
    pytest.importorskip("openvino")
    engine(two_maps)
    without_tracing(monkeypatch)
    engine(two_maps, "openvino")
    (record,) = state.glob("*.json")
    assert json.loads(record.read_text())["verified"] == ["onnxruntime", "openvino"]


def test_the_oldest_pair_goes_as_a_whole(two_maps, state, too_large, monkeypatch):
    engine(two_maps)
    first = {path.name for path in state.iterdir()}
    monkeypatch.setattr(cache, "MAX_BYTES", sum(path.stat().st_size for path in state.glob("*.onnx*")) * 3 // 2)
    engine(two_maps, names=("c", "d"))
    second = {path.name for path in state.iterdir()}
    assert len(first) == len(second) == 3
    assert not first & second


def test_a_pair_that_differs_from_torch_is_not_kept(two_maps, state, too_large, monkeypatch):
    def refuse(*_, **__):
        raise InvalidInputError("The graph differs.")

    monkeypatch.setattr(cache, "verify", refuse)
    with pytest.raises(InvalidInputError, match="differs"):
        engine(two_maps)
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("facts", [FACTS, {}])
def test_a_pair_without_a_folder_serves_one_run(two_maps, too_large, tmp_path, monkeypatch, facts):
    (tmp_path / "state").write_text("a file in its place")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "scratch"))
    images = noise(1, 3, 64, 64)
    found = engine(two_maps, facts=facts).start(images.numpy())()
    assert difference(maps_of(found), one_by_one(two_maps, images)) <= TOLERANCE
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("facts", [FACTS, {}])
def test_a_pair_that_finds_no_room_says_what_helps(two_maps, state, too_large, monkeypatch, facts):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OutputFile, "reserve", full)
    with pytest.raises(InvalidInputError, match=r"No space left on device.*--runtime torch"):
        engine(two_maps, facts=facts)
    assert not list(state.glob("*")) if state.exists() else True


def test_the_command_that_lists_caches_lists_graphs_too(two_maps, state, capsys):
    engine(two_maps)
    assert errors.run(app, ["cache", "list", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {file["path"] for file in files if file["cache"] == "zoo"} == {str(path) for path in state.iterdir()}


def test_a_folder_that_cannot_be_written_costs_only_time(two_maps, state, tmp_path):
    (tmp_path / "state").write_text("a file in its place")
    assert engine(two_maps).start(noise(1, 3, 64, 64).numpy())()[0].nonfinite == 0


# ---------------------------------------------------------------- which runtime


def installed(monkeypatch, *packages):
    monkeypatch.setattr(graph_engine, "has_package", packages.__contains__)


def test_auto_takes_what_is_installed_and_pays_off(monkeypatch):
    installed(monkeypatch, "onnxruntime", "openvino", "onnxscript")
    assert choose_runtime("auto", "float32", "cpu", WORTHWHILE) == "onnxruntime"
    assert choose_runtime("auto", "bfloat16", "cpu", WORTHWHILE) == "openvino"
    assert choose_runtime("auto", "float16", "cpu", WORTHWHILE) == "torch"
    assert choose_runtime("auto", "float32", "cpu", WORTHWHILE - 1) == "torch"
    assert choose_runtime("auto", "float32", "cuda", WORTHWHILE) == "torch"
    installed(monkeypatch, "openvino", "onnxscript")
    assert choose_runtime("auto", "float32", "cpu", WORTHWHILE) == "openvino"
    installed(monkeypatch, "onnxruntime")  # which cannot write the graph
    assert choose_runtime("auto", "float32", "cpu", WORTHWHILE) == "torch"


def test_what_a_runtime_cannot_do_is_told():
    with pytest.raises(UsageError, match=r"onnxruntime computes in float32, not in bfloat16.*openvino"):
        choose_graph_precision("onnxruntime", "bfloat16")
    with pytest.raises(UsageError, match="on the CPU, and the device 'cuda:1'"):
        choose_runtime("openvino", "float32", "cuda:1", 1)
    with pytest.raises(UsageError, match="one of torch, onnxruntime, openvino, auto"):
        choose_runtime("tensorrt", "float32", "cpu", 1)


def test_a_missing_runtime_is_named_with_its_extra(two_maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InvalidInputError, match=r"needs openvino.*zoo-cli\[openvino\]"):
        engine(two_maps, "openvino")


# ---------------------------------------------------------------- the command


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """Run `zoo export-features test_resnet photos --weights w.safetensors <words>` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 90, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")
    assert errors.run(app, ["create", "test_resnet", "-q", "-o", "w.safetensors"]) == 0

    def run(*words):
        capsys.readouterr()
        command = ["export-features", "test_resnet", "photos", "--weights", "w.safetensors", "--pool", "avg", *words]
        return errors.run(app, command), capsys.readouterr().err

    return run


def test_config_json_says_which_runtime_made_the_numbers(export, tmp_path):
    from safetensors.numpy import load_file

    assert export("-o", "torch")[0] == 0
    assert export("--runtime", "onnxruntime", "-o", "graph")[0] == 0
    config = json.loads((tmp_path / "graph" / "config.json").read_text())
    assert config["model"]["computing"] == {"device": "cpu", "runtime": "onnxruntime", "precision": "float32"}
    ours, theirs = (load_file(f"{name}/features-00000.safetensors") for name in ("graph", "torch"))
    for name, expected in theirs.items():
        assert np.abs(ours[name] - expected).max() <= TOLERANCE * np.abs(expected).max()
    code, told = export("--runtime", "torch", "-o", "graph")
    assert code == 2
    assert "runtime is" in told


def test_auto_falls_back_to_torch_where_a_model_cannot_be_exported(export, monkeypatch, tmp_path):
    def trace(*_):
        raise InvalidInputError("The model cannot be exported: it decides by values.")

    monkeypatch.setattr(cache, "trace", trace)
    monkeypatch.setattr(graph_engine, "WORTHWHILE", 1)
    code, told = export("--runtime", "onnxruntime", "-o", "graph")
    assert (code, told.splitlines()) == (
        4,
        [
            "zoo: error: The model cannot be exported: it decides by values.",
            "zoo: hint: Choose --runtime torch, which runs any model.",
        ],
    )
    assert not (tmp_path / "graph").exists()
    code, told = export("--runtime", "auto", "-o", "graph")
    assert code == 0
    assert "note: Features are computed with torch, not with onnxruntime: The model cannot be exported" in told
    config = json.loads((tmp_path / "graph" / "config.json").read_text())
    assert "runtime" not in config["model"]["computing"]


@pytest.mark.parametrize("words", [("--compile",), ("--exact",), ("--precision", "float16")])
def test_options_of_torch_are_refused_for_a_graph(export, words):
    code, told = export("--runtime", "onnxruntime", *words, "-o", "graph")
    assert code == 2
    assert "--runtime torch" in told
