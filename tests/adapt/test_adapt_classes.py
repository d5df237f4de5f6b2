"""What `--num-classes` and `--drop` do to a file: the classifier it holds, the tensors beside the network's."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.plan import AdaptPlan, plan_adaptation
from zoo.core.adapt.request import AdaptRequest
from zoo.core.architectures.new_classifier import initial_values
from zoo.core.architectures.published import find_cfg
from zoo.core.architectures.records import ClassifierInit, module_paths
from zoo.core.architectures.registry import find_spec
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.identify.stray_tensors import architectures_with_strays, stray_tensors

from golden import all_names, golden

MODEL, INPUT = "test_resnet", "conv1.0.weight"
OUT = Path("out.safetensors")
FAMILIES = {
    "byobnet": "gernet_s", "convnext": "convnext_atto", "crossvit": "crossvit_9_240", "densenet": "densenet121",
    "efficientnet": "efficientnet_lite0", "inception_v3": "inception_v3", "levit": "levit_128s",
    "mlp_mixer": "mixer_s32_224", "mobilenetv3": "mobilenetv3_small_050", "nfnet": "dm_nfnet_f0",
    "regnet": "regnetx_002", "resnet": "resnet18", "resnetv2": "resnetv2_50", "swin": "swin_tiny_patch4_window7_224",
    "tresnet": "tresnet_m", "vgg": "vgg11", "vit": "vit_tiny_patch16_224", "deit": "deit_tiny_distilled_patch16_224",
    "xception": "xception41", "cspnet": "cspdarknet53", "cspnext": "cspnext_tiny"
}  # fmt: skip

State = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]


class Run(NamedTuple):
    code: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture(scope="module")
def state() -> State:
    return create_model(MODEL, seed=0).state_dict()  # type: ignore[no-any-return]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.chdir(tmp_path)
    save_file(state, "source.safetensors")

    def run(*words: object) -> Run:
        return Run(errors.run(app, [str(word) for word in words]), *capsys.readouterr())

    return run


def adapt(zoo: Zoo, *words: object, source: object = "source.safetensors", name: str = MODEL) -> Run:
    return zoo("adapt-weights", name, "--weights", source, "-o", OUT, *words)


def stated(path: Path = OUT) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["zoo"])  # type: ignore[no-any-return]


def stored(shapes: Mapping[str, Iterable[int]]) -> list[StoredTensor]:
    """Tensors of names and shapes alone."""
    sizes = {name: tuple(shape) for name, shape in shapes.items()}
    return [
        StoredTensor(name, "F32", shape, Computed(4 * prod(shape), lambda: iter(()))) for name, shape in sizes.items()
    ]


def written(plan: AdaptPlan) -> Shapes:
    return {tensor.name: tensor.shape for tensor in plan.tensors}


# ---------------------------------------------------------------- shapes: those of the model with as many classes


@pytest.mark.parametrize(("family", "name"), all_names())
def test_the_file_has_the_classifier_of_the_model_with_as_many_classes(family: str, name: str):
    """Timm's shapes for 17 classes, as recorded, from its file for the default number, and from the trunk alone."""
    facts = golden(family)[name]
    keys = {key: tuple(shape) for key, (shape, _) in facts["keys"].items()}
    heads = tuple(f"{path}." for path in module_paths(find_spec(name)[1].classifier))
    trunk = {key: shape for key, shape in keys.items() if not key.startswith(heads)}
    expected = keys | {key: tuple(shape) for key, shape in facts["num_classes_17"].items()}
    if not facts["num_classes_17"]:  # published without a classifier: what a model that has one looks like
        model = create_model(name, num_classes=17, device="meta")
        expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        if not model.num_classes:  # an encoder, which takes none
            with pytest.raises((InvalidInputError, UsageError), match=r"is not known|do not show"):
                plan_adaptation(stored(keys), find_cfg(name), AdaptRequest(num_classes=17), "file")
            return
    for given in (keys, trunk):
        plan = plan_adaptation(stored(given), find_cfg(name), AdaptRequest(num_classes=17), "file")
        assert written(plan) == expected
        assert plan.num_classes == 17
        without = plan_adaptation(stored(given), find_cfg(name), AdaptRequest(num_classes=0), "file")
        assert (written(without), without.num_classes) == (trunk, 0)


# ---------------------------------------------------------------- values: one rule


def test_the_values_are_those_of_the_stated_stream():
    """The rule of docs/adaptation.md, computed anew."""
    name, shape, seed = "fc.weight", (3, 50_000), 5
    found = np.concatenate([np.array(b) for b in initial_values(name, shape, ClassifierInit("normal", 0.02), seed)])
    blocks = []
    for block, size in enumerate((65536, 65536, 18928)):
        bits = hashlib.shake_128(f"zoo classifier {seed} {name} {block}".encode()).digest(24 * size)
        terms = (np.frombuffer(bits, "<u2").reshape(size, 12).astype(np.float64) + 0.5) / 65536
        blocks.append(0.02 * (terms.sum(axis=1) - 6))
    assert np.allclose(found, np.concatenate(blocks), rtol=1e-6, atol=1e-12)
    assert abs(found.mean()) < 3e-4
    assert found.std() == pytest.approx(0.02, rel=0.01)


def test_uniform_values_fill_their_range():
    found = np.concatenate([np.array(b) for b in initial_values("fc.weight", (90, 400), ClassifierInit("inputs"), 0)])
    assert (len(found), abs(found).max() <= 0.05, abs(found).max() > 0.0499) == (36_000, True, True)
    assert found.std() == pytest.approx(0.05 / 3**0.5, rel=0.01)
    by_classes = next(initial_values("fc.weight", (25, 400), ClassifierInit("classes"), 0))
    assert 0.199 < max(by_classes) < 0.2
    assert not any(next(initial_values("fc.bias", (25, 400), ClassifierInit("inputs"), 0)))
    bias = next(initial_values("fc.bias", (4000, 400), ClassifierInit(zero_bias=False), 0))
    assert 0.049 < max(bias) < 0.05


@pytest.mark.parametrize("name", FAMILIES.values(), ids=FAMILIES)
def test_the_distribution_is_that_of_a_new_model(name: str):
    """A model that zoo initialises with torch has a classifier of this deviation, range and bias."""
    spec = find_spec(name)[1]
    torch.manual_seed(1)
    model = create_model(name, num_classes=300, device="meta")
    for path in model.classifier_paths:
        model.init_below(model.get_submodule(path).to_empty(device="cpu"), path)
    for path in module_paths(spec.classifier):
        weight, bias = model.get_parameter(f"{path}.weight").detach(), model.get_parameter(f"{path}.bias").detach()
        ours = torch.tensor(
            [v for b in initial_values(f"{path}.weight", weight.shape, spec.classifier_init, 1) for v in b]
        )
        assert float(ours.std()) == pytest.approx(float(weight.std()), rel=0.02)
        tail = 1.5 if spec.classifier_init.kind == "normal" else 1.01
        assert float(weight.abs().max()) / tail <= float(ours.abs().max()) <= float(weight.abs().max()) * tail
        assert spec.classifier_init.zero_bias == (not bias.any())


def test_adapt_and_create_give_the_same_values_for_a_seed(zoo: Zoo):
    assert adapt(zoo, "--num-classes", 7, "--seed", 3).code == 0
    ours = load_file(OUT)
    run = zoo("create", MODEL, "--weights", "source.safetensors", "--num-classes", 7, "--seed", 3, "-o", "made")
    assert run.code == 0
    theirs = load_file("made")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert adapt(zoo, "--num-classes", 7, "--seed", 4, "--force").code == 0
    assert not torch.equal(load_file(OUT)["fc.weight"], ours["fc.weight"])
    assert stated()["origin"]["random_seed"] == 4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_new_classifier_has_the_dtype_of_the_file(zoo: Zoo, state: State, dtype: str):
    wanted = getattr(torch, dtype)
    save_file({key: value.to(wanted) if value.is_floating_point() else value for key, value in state.items()}, "x")
    assert adapt(zoo, "--num-classes", 7, source="x").code == 0
    assert adapt(zoo, "--num-classes", 7, "--dtype", "float32", "--force", source="x").code == 0
    exact = load_file(OUT)["fc.weight"]
    assert adapt(zoo, "--num-classes", 7, "--force", source="x").code == 0
    found = load_file(OUT)["fc.weight"]
    assert found.dtype == wanted
    assert torch.equal(found, exact.to(wanted))


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_that_is_none(zoo: Zoo, seed: int):
    run = adapt(zoo, "--num-classes", 7, f"--seed={seed}")
    assert (run.code, "The seed must be a number from 0 to 2^64 - 1" in run.stderr) == (2, True)


# ---------------------------------------------------------------- one meaning in file, metadata, folder and model


@pytest.mark.parametrize("headless", [False, True])
def test_the_file_its_metadata_the_folder_and_the_model_agree(zoo: Zoo, state: State, headless: bool):
    if headless:
        save_file({key: value for key, value in state.items() if not key.startswith("fc.")}, "source.safetensors")
    run = adapt(zoo, "--num-classes", 7, "--in-chans", 5, "--verify")
    assert run.code == 0
    assert run.stderr == "zoo: note: fc is a new classifier with 7 outputs, initialised by seed 0\n"
    held = load_file(OUT)
    assert (held["fc.weight"].shape, held["fc.bias"].shape) == ((7, 96), (7,))
    assert (stated()["num_classes"], stated()["classifier"]) == (7, "fc")
    assert stated()["origin"]["initialised"] == ["fc.weight", "fc.bias"]
    created = json.loads(zoo("create", MODEL, "--weights", OUT, "--json").stdout)
    assert (created["num_classes"], created["in_chans"], created["weights"]["initialised"]) == (7, 5, [])
    assert zoo("check", MODEL, OUT).code == 0
    model = create_model(MODEL, num_classes=7, in_chans=5)
    model.load_state_dict(held, strict=True)
    folder = zoo("adapt-weights", MODEL, "--weights", "source.safetensors", "--num-classes", 7, "--in-chans", 5,
                 "--format", "timm", "-o", "folder")  # fmt: skip
    assert folder.code == 0
    config = json.loads(Path("folder/config.json").read_text())
    numbers = (config["num_classes"], config["pretrained_cfg"]["num_classes"], config["model_args"]["num_classes"])
    assert numbers == (7, 7, 7)
    assert load_file("folder/model.safetensors")["fc.weight"].shape == (7, 96)


def test_as_many_classes_as_the_source_has_keep_its_classifier(zoo: Zoo, state: State):
    run = adapt(zoo, "--num-classes", 1000, "--in-chans", 4)
    assert (run.code, run.stderr) == (0, "")
    assert torch.equal(load_file(OUT)["fc.weight"], state["fc.weight"])
    assert "initialised" not in stated()["origin"]


def test_no_classes_leave_out_whatever_is_below_the_classifiers_name(zoo: Zoo, state: State):
    trunk = {key: value for key, value in state.items() if not key.startswith("fc.")}
    save_file(trunk | {"fc.0.weight": torch.ones(96, 96), "fc.2.weight": torch.ones(16, 96)}, "moco")
    run = adapt(zoo, "--num-classes", 0, "--classifier", "fc", "--in-chans", 4, source="moco")
    assert run.code == 0
    assert "  fc.0.weight, fc.2.weight: dropped; the classifier is left out\n" in run.stdout
    assert load_file(OUT).keys() == trunk.keys()
    assert stated()["num_classes"] == 0
    assert adapt(zoo, "--num-classes", 9, "--force", source="moco").code == 0
    assert load_file(OUT).keys() == state.keys()
    assert json.loads(zoo("create", MODEL, "--weights", OUT, "--json").stdout)["num_classes"] == 9


def test_only_the_classifier_that_differs_is_new(zoo: Zoo):
    name = "deit_tiny_distilled_patch16_224"
    state = create_model(name, num_classes=6, seed=0).state_dict()
    del state["head_dist.weight"], state["head_dist.bias"]
    save_file(state, "deit")
    run = adapt(zoo, "--num-classes", 6, source="deit", name=name)
    assert run.stderr == "zoo: note: head_dist is a new classifier with 6 outputs, initialised by seed 0\n"
    held = load_file(OUT)
    assert torch.equal(held["head.weight"], state["head.weight"])
    assert held["head_dist.weight"].shape == (6, 192)


def test_a_prefix_and_a_stripped_one(zoo: Zoo, state: State):
    save_file({f"net.{key}": value for key, value in state.items()}, "wrapped")
    words = ("--num-classes", 3, "--strip-prefix", "net.", "--prefix", "encoder.", "--verify")
    assert adapt(zoo, *words, source="wrapped").code == 0
    assert load_file(OUT).keys() == {f"encoder.{key}" for key in state}
    plain = adapt(zoo, "--num-classes", 3, "--force")
    assert plain.code == 0
    bare = load_file(OUT)["fc.weight"]
    assert adapt(zoo, *words, "--force", source="wrapped").code == 0
    assert torch.equal(load_file(OUT)["encoder.fc.weight"], bare)


@pytest.mark.parametrize(
    ("tensors", "words", "code", "told"),
    [
        ({"stem.weight": (8, 3, 3, 3)}, (), 2, "candidates: none"),
        ({"stem.weight": (8, 3, 3, 3), "cls.weight": (5, 8)}, ("--classifier", "cls"), 0, "cls is a new classifier"),
        ({"stem.weight": (8, 3, 3, 3), "cls.0.weight": (5, 8), "cls.2.weight": (4, 5)}, ("--classifier", "cls"), 4,
         "--classifier cls.2"),
        ({"stem.weight": (8, 3, 3, 3), "cls.0.weight": (5, 8), "cls.2.weight": (4, 5)}, ("--classifier", "cls.2"), 0,
         "cls.2 is a new classifier"),
        ({"stem.weight": (8, 3, 3, 3)}, ("--classifier", "cls"), 4, "no tensors of a classifier at cls"),
        ({"stem.weight": (8, 3, 3, 3), "cls.weight": (5,)}, ("--classifier", "cls"), 4,
         "How many features a new classifier cls"),
    ],
)  # fmt: skip
def test_a_network_that_nobody_knows(zoo: Zoo, tensors: Shapes, words: tuple[str, ...], code: int, told: str):
    save_file({name: torch.ones(shape) for name, shape in tensors.items()}, "unknown")
    run = zoo("adapt-weights", "./unknown", "--num-classes", 7, "-o", OUT, *words)
    assert run.code == code
    assert told in run.stderr
    assert OUT.exists() == (code == 0)
    if not code:
        layer = words[1]
        assert load_file(OUT)[f"{layer}.weight"].shape == (7, tensors[f"{layer}.weight"][1])
        assert f"{layer}.bias" not in load_file(OUT)
        assert (stated()["num_classes"], stated()["architecture"]) == (7, "")


def test_several_classifiers_by_name_are_asked_for(zoo: Zoo):
    tensors = {"stem.weight": (8, 3, 3, 3), "fc.weight": (5, 8), "classifier.weight": (5, 8)}
    save_file({name: torch.ones(shape) for name, shape in tensors.items()}, "unknown")
    run = zoo("adapt-weights", "./unknown", "--num-classes", 7, "-o", OUT)
    assert run.code == 2
    assert "candidates:" in run.stderr
    assert {"fc", "classifier"} <= set(run.stderr.replace(",", " ").replace(".", " ").split())


def test_check_says_of_a_file_without_architecture_what_create_does(zoo: Zoo):
    save_file({"conv1.weight": torch.ones(8, 3, 3, 3), "fc.weight": torch.ones(2, 8)}, "tiny.safetensors")
    assert zoo("adapt-weights", "tiny.safetensors", "--in-chans", 5, "-o", OUT).code == 0
    checked, created = zoo("check", "resnet18", OUT), zoo("create", "resnet18", "--weights", OUT)
    assert (checked.code, created.code) == (4, 4)
    assert "does not fit resnet18" in checked.stderr
    assert "No model is called ''" not in checked.stderr


def test_twins_whose_name_is_not_known_have_one_classifier(zoo: Zoo):
    shapes = {key: tuple(shape) for key, (shape, _) in golden("resnet")["resnet18"]["keys"].items()}
    save_file({key: torch.zeros(shape) for key, shape in shapes.items() if not key.startswith("fc.")}, "trunk")
    run = zoo("adapt-weights", "./trunk", "--num-classes", 10, "-o", OUT)
    assert "resnet18 and resnetblur18" in run.stderr
    assert load_file(OUT)["fc.weight"].shape == (10, 512)


# ---------------------------------------------------------------- what is reported, and metadata


def test_a_new_classifier_needs_no_numpy(zoo: Zoo):
    words = ["adapt-weights", MODEL, "--weights", "source.safetensors", "--num-classes", "7", "--in-chans", "5",
             "-o", "out.safetensors"]  # fmt: skip
    code = (
        "import sys; from zoo.cli import errors; from zoo.cli.app import app\n"
        f"code = errors.run(app, {words!r})\n"
        "sys.exit(bool(code) or bool({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False).returncode == 0
    assert load_file(OUT)["fc.weight"].shape == (7, 96)


def test_the_reason_and_what_there_was_are_in_the_document(zoo: Zoo, state: State):
    save_file({key: value for key, value in state.items() if key != "fc.bias"} | {"fc.0.weight": torch.ones(1)}, "x")
    document = json.loads(adapt(zoo, "--num-classes", 7, "--dry-run", "--json", source="x").stdout)
    changes = {change["name"]: change for change in document["changes"]}
    keys = ("action", "shape", "dtype", "new_shape", "reason")
    assert [changes["fc.weight"].get(key) for key in keys] == ["new", [1000, 96], "F32", [7, 96], None]
    assert [changes["fc.bias"].get(key) for key in keys] == ["new", None, None, [7], None]
    assert [changes["fc.0.weight"].get(key) for key in keys] == ["drop", [1], "F32", None, "the classifier is new"]


def test_every_name_is_reported_once(zoo: Zoo, state: State):
    save_file(state | {"criterion.weight": torch.ones(3), "fc.scale": torch.ones(1)}, "source")
    words = ("--num-classes", 7, "--in-chans", 4, "--drop", "criterion.*", "--dtype", "float16", "--json", "--dry-run")
    document = json.loads(adapt(zoo, *words, source="source").stdout)
    names = [change["name"] for change in document["changes"]]
    assert sorted(names) == sorted({INPUT, "fc.weight", "fc.bias", "fc.scale", "criterion.weight"})
    assert sum(document["tensors"].values()) == len(state) + 2


def test_dropped_tensors_are_one_line_and_all_with_verbose(zoo: Zoo, state: State):
    extra = {f"queue.{n}.weight": torch.ones(2) for n in range(40)}
    save_file({f"net.{key}": value for key, value in state.items()} | extra, "source")
    words = ("--strip-prefix", "net.", "--in-chans", 4)
    run = adapt(zoo, *words, source="source")
    assert run.stdout.count("dropped") == 1
    assert "  40 tensors, the first queue.0.weight: dropped; its name does not begin with net.\n" in run.stdout
    verbose = adapt(zoo, *words, "--verbose", "--force", source="source")
    assert verbose.stdout.count("dropped; ") == 40
    assert "  queue.39.weight: 2 dropped; its name does not begin with net.\n" in verbose.stdout


def test_model_arguments_are_written_only_where_something_was_resized(zoo: Zoo):
    assert adapt(zoo, "--img-size", 128, "--in-chans", 4).code == 0
    assert "model_args" not in stated()
    save_file(create_model("test_vit", seed=0).state_dict(), "vit")
    assert adapt(zoo, "--img-size", 128, "--force", source="vit", name="test_vit").code == 0
    assert "model_args" not in stated() or stated()["model_args"] == {"img_size": [128, 128]}
    assert adapt(zoo, "--img-size", 96, "--force", source="vit", name="test_vit").code == 0
    assert stated()["model_args"] == {"img_size": [96, 96]}


# ---------------------------------------------------------------- strays


@pytest.mark.parametrize("strays", [
    {"criterion.pos_weight": (10,)},
    {"logit_scale": (), "queue": (128, 64), "queue_ptr": (1,)},
    {"metrics.total.num_batches_tracked": (), "loss.centers": (10, 4)},
], ids=["module", "bare", "counter"])  # fmt: skip
def test_strays_do_not_unmake_an_architecture(zoo: Zoo, state: State, strays: Shapes):
    beside = {name: torch.ones(shape) for name, shape in strays.items()}
    save_file(state | beside, "source")
    run = adapt(zoo, "--in-chans", 5, source="source")
    assert run.code == 0
    told = run.stderr.removeprefix("zoo: note: ").partition(" is none" if len(strays) == 1 else " are none")[0]
    assert set(told.split(", ")) == set(strays)
    assert load_file(OUT).keys() == {*state, *strays}
    assert stated()["architecture"] == MODEL
    drops = [word for name in strays for word in ("--drop", name)]
    assert adapt(zoo, "--in-chans", 5, "--force", "--verify", *drops, source="source").stderr == ""
    assert load_file(OUT).keys() == state.keys()
    assert zoo("create", MODEL, "--weights", OUT).code == 0
    shapes = {name: tuple(value.shape) for name, value in (state | beside).items()}
    assert set(stray_tensors(shapes, MODEL) or ()) == set(strays)
    found = architectures_with_strays(shapes)
    assert found is not None
    assert (MODEL in found.architectures, set(found.strays)) == (True, set(strays))


def test_strays_beside_bare_parameters_of_a_transformer(state: State):
    shapes = {
        key: tuple(shape) for key, (shape, _) in golden("vision_transformer")["vit_tiny_patch16_224"]["keys"].items()
    }
    with_strays = shapes | {"center": (1, 64), "logit_scale": ()}
    assert stray_tensors(with_strays, "vit_tiny_patch16_224") == ("center", "logit_scale")
    without = {key: shape for key, shape in with_strays.items() if key != "cls_token"}
    assert stray_tensors(without, "vit_tiny_patch16_224") is None
    changed = with_strays | {"blocks.3.norm1.weight": (193,)}
    assert stray_tensors(changed, "vit_tiny_patch16_224") is None
    assert stray_tensors(shapes, "vit_tiny_patch16_224") == ()
    assert stray_tensors(shapes, "nobody") is None


def test_a_larger_network_is_no_smaller_one_with_strays():
    """All of ResNet-18's layers are among ResNet-34's; without one of its own a ResNet-34 is a guess."""
    shapes = {key: tuple(shape) for key, (shape, _) in golden("resnet")["resnet34"]["keys"].items()}
    damaged = {key: shape for key, shape in shapes.items() if not key.startswith("layer3.5.conv2")}
    assert stray_tensors(damaged, "resnet18") is not None
    assert architectures_with_strays(damaged) is None


def test_a_folder_that_timm_would_refuse_is_not_written(zoo: Zoo, state: State):
    save_file(state | {"criterion.pos_weight": torch.ones(3)}, "source")
    words = ("--in-chans", 5, "--format", "timm")
    run = zoo("adapt-weights", MODEL, "--weights", "source", "-o", "folder", *words)
    assert (run.code, "--drop criterion.pos_weight" in run.stderr) == (4, True)
    assert not os.path.exists("folder")
    done = zoo("adapt-weights", MODEL, "--weights", "source", "-o", "folder", *words, "--drop", "criterion.*")
    assert done.code == 0
    assert load_file("folder/model.safetensors").keys() == state.keys()


def test_a_nameless_file_with_strays_is_known(zoo: Zoo, state: State):
    save_file(state | {"criterion.pos_weight": torch.ones(3)}, "source.safetensors")
    run = zoo("adapt-weights", "source.safetensors", "--in-chans", 5, "-o", OUT)
    assert run.code == 0
    assert f"the names and shapes are those of {MODEL}" in run.stderr
    assert "criterion.pos_weight is none of" in run.stderr
    assert stated()["architecture"] == MODEL
    identified = json.loads(zoo("identify", "source.safetensors", "--json").stdout)["candidates"][0]
    assert (identified["match"], identified["strays"]) == ("exact", ["criterion.pos_weight"])
    line = zoo("identify", "source.safetensors")
    assert (line.code, "strays=criterion.pos_weight" in line.stdout) == (0, True)


def test_a_nameless_file_is_known_by_what_is_left_of_it(zoo: Zoo, state: State):
    both = {f"encoder_{one}.{key}": value.clone() for one in "qk" for key, value in state.items()}
    save_file(both | {"encoder_q.head.0.weight": torch.ones(4)}, "two.safetensors")
    words = ("--strip-prefix", "encoder_q.", "--drop", "head.*", "--num-classes", 3, "-o", OUT)
    assert zoo("adapt-weights", "two.safetensors", *words).code == 0
    assert (stated()["architecture"], stated()["num_classes"]) == (MODEL, 3)
    assert load_file(OUT).keys() == state.keys()
    many = state | {f"decoder.{n}.weight": torch.ones(2) for n in range(60)}
    save_file(many, "many.safetensors")
    assert (
        zoo("adapt-weights", "many.safetensors", "--in-chans", 4, "--drop", "decoder.*", "-o", OUT, "--force").code == 0
    )
    assert stated()["architecture"] == MODEL


def test_another_architectures_tensors_are_refused_all_the_same(zoo: Zoo, state: State):
    save_file(state, "source")
    run = adapt(zoo, "--in-chans", 5, source="source", name="resnet18")
    assert run.code == 4
    damaged = {key: value for key, value in state.items() if key != "layer4.0.conv1.weight"}
    save_file(damaged | {"criterion.pos_weight": torch.ones(3)}, "damaged")
    run = adapt(zoo, "--in-chans", 5, source="damaged")
    assert (run.code, "does not have the tensors of" in run.stderr) == (4, True)


def test_a_trunk_that_is_not_the_architectures_gets_no_classifier(zoo: Zoo, state: State):
    """Where the names are another ecosystem's the classifier may hide under another name."""
    renamed = {f"last.{key}" if key.startswith("fc.") else key: value for key, value in state.items()}
    del renamed["layer4.0.conv1.weight"]
    save_file(renamed, "renamed")
    run = adapt(zoo, "--num-classes", 7, source="renamed")
    assert run.code == 4
    assert not OUT.exists()


# ---------------------------------------------------------------- --drop


def test_a_pattern_that_matches_nothing_is_a_usage_error(zoo: Zoo, state: State):
    for command in (
        ("adapt-weights", MODEL, "--weights", "source.safetensors", "--in-chans", 5, "-o", OUT),
        ("convert", "source.safetensors", "-o", "out.npz"),
        ("create", MODEL, "--weights", "source.safetensors"),
    ):
        run = zoo(*command, "--drop", "criterion.*")
        assert (run.code, run.stdout) == (2, "")
        assert "No tensor in source.safetensors has a name that matches 'criterion.*'" in run.stderr
    assert os.listdir() == ["source.safetensors"]
    assert zoo("create", MODEL, "--drop", "x").code == 2


def test_check_and_create_say_how_a_file_with_strays_is_taken(zoo: Zoo, state: State):
    save_file(state | {"criterion.pos_weight": torch.ones(3)}, "strays.safetensors")
    checked = zoo("check", MODEL, "strays.safetensors")
    assert (checked.code, "--allow-unexpected criterion.pos_weight" in checked.stderr) == (4, True)
    words = ("--allow-unexpected", "criterion.pos_weight")
    assert zoo("check", MODEL, "strays.safetensors", *words).code == 0


def test_create_and_convert_leave_tensors_out(zoo: Zoo, state: State):
    save_file(state | {"criterion.pos_weight": torch.ones(3), "queue": torch.ones(4)}, "strays.safetensors")
    refused = zoo("create", MODEL, "--weights", "strays.safetensors")
    assert (refused.code, "--drop criterion.pos_weight" in refused.stderr) == (4, True)
    words = ("--drop", "criterion.*", "--drop", "queue")
    run = zoo("create", MODEL, "--weights", "strays.safetensors", *words, "-o", "created", "--json")
    assert (run.code, json.loads(run.stdout)["weights"]["dropped"]) == (0, ["criterion.pos_weight", "queue"])
    assert load_file("created").keys() == state.keys()
    run = zoo("convert", "strays.safetensors", *words, "-o", "converted.safetensors", "--json")
    assert json.loads(run.stdout)["dropped"] == {
        "criterion.pos_weight": "its name matches criterion.*", "queue": "its name matches queue"
    }  # fmt: skip
    assert load_file("converted.safetensors").keys() == state.keys()
    assert stated(Path("converted.safetensors"))["architecture"] == MODEL


def test_a_pattern_may_name_tensors_with_or_without_the_prefix(zoo: Zoo, state: State):
    save_file({f"net.{key}": value for key, value in state.items()} | {"net.loss.weight": torch.ones(1)}, "wrapped")
    for pattern in ("net.loss.*", "loss.*"):
        run = adapt(zoo, "--strip-prefix", "net.", "--in-chans", 5, "--drop", pattern, "--force", source="wrapped")
        assert run.code == 0
        assert f"  net.loss.weight: dropped; its name matches {pattern}\n" in run.stdout
        assert load_file(OUT).keys() == state.keys()


def test_what_is_left_out_of_the_network_itself_is_said(zoo: Zoo, state: State):
    run = adapt(zoo, "--drop", "layer4.*")
    assert (run.code, "layer4." in run.stderr, "the file alone makes no model" in run.stderr) == (0, True, True)
    assert load_file(OUT).keys() == {key for key in state if not key.startswith("layer4.")}
    folder = zoo("adapt-weights", MODEL, "--weights", "source.safetensors", "--drop", "layer4.*", "--format", "timm",
                 "-o", "folder")  # fmt: skip
    assert (folder.code, "timm would refuse" in folder.stderr) == (4, True)


def test_a_dropped_classifier_is_not_in_the_metadata(zoo: Zoo):
    assert adapt(zoo, "--drop", "fc.*").code == 0
    assert stated()["num_classes"] == 0
    assert json.loads(zoo("create", MODEL, "--weights", OUT, "--json").stdout)["num_classes"] == 0


def test_the_library_raises_what_the_command_says():
    shapes = {"conv1.weight": (8, 3, 3, 3)}
    with pytest.raises(UsageError, match="matches 'x'"):
        plan_adaptation(stored(shapes), find_cfg("resnet18"), AdaptRequest(in_chans=4, drop=("x",)), "file")
    with pytest.raises(UsageError, match="seed"):
        AdaptRequest(num_classes=3, seed=-1)
    request = AdaptRequest(keep_classes=(2,))
    with pytest.raises(InvalidInputError, match="counted from 0"):
        plan_adaptation(stored(shapes | {"fc.weight": (2, 8)}), find_cfg("resnet18"), request, "file")
