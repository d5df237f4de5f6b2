"""Architectures are recognised by names and shapes; those are timm's, recorded in tests/golden."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from fnmatch import fnmatchcase
from itertools import product
from math import prod

import pytest

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures.line_table import LineTable
from zoo.core.architectures.published import find_cfg
from zoo.core.architectures.records import module_paths
from zoo.core.architectures.registry import families, find_spec
from zoo.core.errors import ExitCode
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.identify.identify import identify
from zoo.core.identify.similar_architectures import DIGESTS_PATH, DIGESTS_SECTION, layer_digests
from zoo.core.layouts import keras
from zoo.core.layouts.engine import LAYOUTS, Matched, apply_from_timm, match, tables
from zoo.core.layouts.table import Table

from golden import all_names, golden, smallest
from weight_bytes import weight_bytes


def tensors(facts, *, changes=(), prefix="", dtype="F32"):
    """The state dict that timm has, without the data."""
    shapes = {key: shape for key, (shape, _) in facts["keys"].items()}
    for change in changes:
        shapes |= facts[change]
    return {prefix + key: StoredTensor(prefix + key, dtype, tuple(shape), b"") for key, shape in shapes.items()}


def sized(facts) -> bytes:
    """A file with these names and shapes."""
    shapes = ((key, shape) for key, (shape, _) in facts["keys"].items())
    return weight_bytes({key: ("F16", tuple(shape), bytes(2 * prod(shape))) for key, shape in shapes})


def same_tensors(family: str, name: str) -> set[str]:
    """The names of the family that nobody can tell from this one."""
    keys = golden(family)[name]["keys"]
    return {other for other, facts in golden(family).items() if facts["keys"] == keys}


def skip_what_holds_another(family: str):
    """Where all tensors are those of another network behind a prefix, that network is as good an answer."""
    facts = golden(family)
    inner = {key.partition(".")[2]: value for key, value in facts[smallest(family)]["keys"].items()}
    if any(other["keys"] == inner for other in facts.values()):
        pytest.skip("it holds another network and nothing else")


@pytest.mark.parametrize(("family", "name"), all_names())
def test_every_architecture_is_recognised(family: str, name: str):
    facts = golden(family)[name]
    best = identify(tensors(facts))[0]
    assert same_tensors(family, name) <= set(best.architectures)
    assert (best.match, best.prefix, best.share, best.adapted) == ("exact", "", 1, False)
    assert best.in_chans in (3, None)
    changed = tensors(facts, changes=("in_chans_5", "num_classes_17"), prefix="model.backbone.", dtype="F16")
    best = identify(changed)[0]
    assert same_tensors(family, name) <= set(best.architectures)
    assert best.prefix == "model.backbone."
    assert best.in_chans == (5 if facts["in_chans_5"] else None)
    assert best.num_classes == (17 if facts["num_classes_17"] else 0)


@pytest.mark.parametrize(
    ("family", "name"), [("vision_transformer", "vit_tiny_patch16_224"), ("deit", "deit_tiny_distilled_patch16_224")]
)
def test_other_image_and_patch_sizes(family: str, name: str):
    image, patch = 224, 16
    found = tensors(golden(family)[name])
    assert identify(found)[0].image_size == (image, image)
    assert identify(found)[0].patch_size == (patch, patch)
    positions, kernel = found["pos_embed"], found["patch_embed.proj.weight"]
    prefix_tokens = positions.shape[1] - (image // patch) ** 2
    found["pos_embed"] = positions._replace(shape=(1, 24**2 + prefix_tokens, positions.shape[2]))
    found["patch_embed.proj.weight"] = kernel._replace(shape=(*kernel.shape[:2], 8, 8))
    best = identify(found)[0]
    assert name in best.architectures
    assert (best.match, best.image_size, best.patch_size) == ("other size", (192, 192), (8, 8))


@pytest.mark.parametrize("family", families())
def test_another_head_or_lost_tensors(family: str):
    skip_what_holds_another(family)
    facts = golden(family)[smallest(family)]
    found = tensors(facts)
    extra = found | {"decode_head.conv.weight": StoredTensor("decode_head.conv.weight", "F32", (1, 2, 3, 3), b"")}
    beside = identify(extra)[0]
    assert smallest(family) in beside.architectures
    assert (beside.match, beside.strays) == ("exact", ("decode_head.conv.weight",))
    assert beside.share == pytest.approx(len(found) / len(extra))
    # A layer more in one of its own modules tells another network.
    first = (*module_paths(find_cfg(smallest(family)).first_conv), *found)[0]  # some have no input layer
    inner = f"{first.partition('.')[0]}.extra.weight"
    assert {guess.match for guess in identify(found | {inner: StoredTensor(inner, "F32", (1, 2), b"")})} == {"similar"}
    inside = {f"encoder.{name}": tensor for name, tensor in found.items()} | {
        name: tensor for name, tensor in extra.items() if name.startswith("decode_head")
    }
    best = identify(inside)[0]
    assert smallest(family) in best.architectures
    assert best.prefix == "encoder."
    assert best.share == pytest.approx(len(found) / (len(found) + 1))


@pytest.mark.parametrize(("family", "name"), all_names())
def test_the_layers_of_every_architecture_are_known(family: str, name: str):
    spec = find_spec(name)[1]
    shapes = {key: shape for key, (shape, _) in golden(family)[name]["keys"].items()}
    layers = layer_digests(shapes, module_paths(spec.first_conv), module_paths(spec.classifier))
    assert LineTable(DIGESTS_PATH, DIGESTS_SECTION)[name]["layers"] == layers


def test_the_layers_of_every_architecture_are_in_the_table():
    assert set(LineTable(DIGESTS_PATH, DIGESTS_SECTION)) == {name for _, name in all_names()}


@pytest.mark.parametrize("family", families())
def test_a_checkpoint_that_is_no_architecture_gets_ranked_guesses(family: str):
    skip_what_holds_another(family)
    name = smallest(family)
    found = tensors(golden(family)[name], changes=("in_chans_5", "num_classes_17"), prefix="model.", dtype="F16")
    layers = {key.rpartition(".")[0] for key in found}
    heads = tuple(f"model.{path}" for path in module_paths(find_cfg(name).classifier))
    lost = sorted(layer for layer in layers if not layer.startswith(heads))[len(layers) // 2]
    left = {key: tensor for key, tensor in found.items() if key.rpartition(".")[0] != lost}
    guesses = identify(left | tensors({"keys": {"adapter.weight": ((8, 8), "float32")}}, prefix="model."))
    assert same_tensors(family, name) <= set(guesses[0].architectures)
    best = guesses[0]
    assert (best.match, best.prefix, best.layout) == ("similar", "model.", "timm")
    assert best.in_chans is None or best.adapted
    without_head = len({layer for layer in layers if not layer.startswith(heads)})
    assert best.coverage == pytest.approx((without_head - 1) / without_head)
    assert best.num_classes == 17


def test_nothing_is_recognised_in_other_tensors():
    assert identify({}) == []
    assert identify({"conv1.weight": StoredTensor("conv1.weight", "F32", (64, 3, 7, 7), b"")}) == []


def test_a_name_of_very_many_parts_takes_no_more_memory_than_its_text():
    name = "." * 20_000
    tracemalloc.start()
    try:
        assert identify({name: StoredTensor(name, "F32", (2,), bytes(8))}, guess=False) == []
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_the_command(tmp_path, capsys):
    path = tmp_path / "unknown.safetensors"
    facts = golden("resnet")["resnet10t"]
    path.write_bytes(sized(facts))
    assert errors.run(app, ["identify", str(path)]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert said.split()[0].split(",")[0] == "resnet10t"
    assert "in_chans=3" in said
    assert "num_classes=1000" in said


def test_the_command_says_that_it_knows_nothing_like_it(tmp_path, capsys):
    path = tmp_path / "strange.safetensors"
    path.write_bytes(weight_bytes({"weight": ("U8", (2, 2), b"1234")}))
    assert errors.run(app, ["identify", str(path)]) == ExitCode.INVALID_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no architecture" in captured.err


def test_the_command_guesses_and_fails(tmp_path, capsys):
    path = tmp_path / "changed.safetensors"
    facts = golden("resnet")["resnet10t"]
    keys = {key: fact for key, fact in facts["keys"].items() if not key.startswith("layer3.0.conv2")}
    path.write_bytes(sized({"keys": keys}))
    assert errors.run(app, ["identify", str(path)]) == ExitCode.INVALID_INPUT
    captured = capsys.readouterr()
    assert captured.out.split()[:2] == ["resnet10t", "match=similar"]
    assert "nearest is resnet10t" in captured.err
    assert f"zoo check resnet10t {path}" in captured.err
    assert errors.run(app, ["identify", str(path), "--json"]) == ExitCode.INVALID_INPUT
    best = json.loads(capsys.readouterr().out)["candidates"][0]
    assert (best["architectures"], best["match"]) == (["resnet10t"], "similar")


def test_no_torch_is_needed(tmp_path):
    path = tmp_path / "unknown.safetensors"
    facts = golden("resnet")["resnet10t"]
    path.write_bytes(sized(facts))
    program = (
        "import sys; from zoo.cli import errors; from zoo.cli.app import app\n"
        f"code = [errors.run(app, [command, {str(path)!r}]) for command in ('identify', 'inspect')]\n"
        "sys.exit(code != [0, 0] or bool({'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", program], stdout=subprocess.DEVNULL).returncode == 0


# ---------------------------------------------------------------- other ecosystems

# Where their names are timm's, what else their files hold tells them apart.
BESIDE = {
    ("mae", "MAE"): "decoder_embed.weight",
    ("dino", "DINOv2"): "mask_token",
    ("dino", "DINO"): "head.last_layer.weight",
}
# Neighbouring stages of equal width, which names that count the blocks straight through do not tell apart.
EQUAL_STAGES = ("mobilenetv2_035", "mobilenetv2_050", "mobilenetv2_075", "mobilenetv3_small_050")


# Their files in wrappers, and changed, are tried; of the other layouts the plain file is.
WRAPPED = (
    "torchvision", "torchvision_dotted", "efficientnet_pytorch", "transformers", "transformers_5", "open_clip", "dino",
    "mae", "augreg", "big_vision",
)  # fmt: skip
LATER_FAMILIES = ("registers", "DINOv3", "any size", "V2")
# Their names are another table's as well, or a part of the network is left out.
SHARED = {
    ("mmseg", "ResNet with a deep stem"), ("mmseg", "Swin Transformer"), ("mmseg", "ConvNeXt"),
    ("mmdet", "Swin Transformer"), ("mmdet", "ConvNeXt"), ("timm_0", "DeiT III"), ("swav", "SwAV"),
    ("timm_0", "BEiT"),
    ("timm_0", "Vision Transformer with a layer before its head"), *(("keras", table.family) for table in keras.TABLES),
    ("segmentation_models_pytorch", "EfficientNet"), ("segmentation_models_pytorch", "MobileNetV2"),
}  # fmt: skip


def all_tables(wrapped: bool = True):
    """The tables that go both ways and take only names of their own."""
    found = []
    for layout in LAYOUTS:
        for number, table in enumerate(tables(layout)):
            loses = any(word in table.rows for word in ("class_position", "first_frame", "magnitude"))
            later = layout in WRAPPED and any(word in table.family for word in LATER_FAMILIES)
            if loses or not table.twins or table.takes_any_name or (layout, table.family) in SHARED:
                continue
            if (layout in WRAPPED and not later) == wrapped:
                found.append(pytest.param(layout, table, id=f"{layout}-{number}"))
    return found


def in_their_names(layout: str, table: Table) -> tuple[str, str, Matched]:
    """The smallest architecture that the table has names for, with its head or else without, and these names."""
    wildcards = [wildcard for twins in table.twins for wildcard in twins.names.split()]
    names = [
        one for one in all_names() if any(fnmatchcase(one[1], w) for w in wildcards) and one[1] not in EQUAL_STAGES
    ]
    smallest_first = sorted(names, key=lambda one: golden(one[0])[one[1]]["params"])
    # Of a table that is only for reading, and no architecture's own, the names fit several.
    for only_its_own, (family, name) in product((True, False), smallest_first):
        shapes = {key: shape for key, (shape, _) in golden(family)[name]["keys"].items()}
        heads = tuple(f"{path}." for path in module_paths(find_cfg(name).classifier))
        for chosen in (shapes, {key: shape for key, shape in shapes.items() if not key.startswith(heads)}):
            if only_its_own and not table.fits(chosen):
                continue
            if not (matched := match(table, chosen, "timm")).misfits:
                return family, name, matched
    raise AssertionError(f"{layout} has no architecture for {table.family}")


def theirs(family: str, name: str, matched: Matched, in_chans: int, num_classes: int, dtype: str):
    """The architecture's tensors as their file would have them; matrices without their data, all else is zero."""
    facts = golden(family)[name]
    shapes = {key: tuple(shape) for key, (shape, _) in facts["keys"].items()}
    shapes |= {key: (shape[0], in_chans, *shape[2:]) for key, shape in facts["in_chans_5"].items()}
    shapes |= {key: (num_classes, *shape[1:]) for key, shape in facts["num_classes_17"].items()}
    sizes = {key: prod(shape) * (2 if dtype == "F16" else 4) for key, shape in shapes.items()}
    ours = {
        key: StoredTensor(key, dtype, shape, Computed(sizes[key], lambda: ()) if len(shape) > 1 else bytes(sizes[key]))
        for key, shape in shapes.items()
    }
    return apply_from_timm(matched, ours, getattr(find_spec(name)[1], "num_heads", 0))


@pytest.mark.parametrize(("layout", "table"), all_tables())
def test_a_network_of_another_ecosystem_in_a_wrapper(layout: str, table: Table):
    family, name, matched = in_their_names(layout, table)
    has_head = any(key in golden(family)[name]["num_classes_17"] for step in matched.steps for key in step.timm)
    same_names = all(step.timm == step.theirs for step in matched.steps)
    extra = BESIDE.get((layout, table.family), "")
    beside = [StoredTensor(extra, "F32", (1, 1, 2), bytes(8))] if extra else []
    for prefix, in_chans, num_classes, dtype in (
        ("", 3, 1000, "F32"),
        ("model.", 1, 17, "F16"),
        ("backbone.", 25, 2, "F32"),
        ("teacher.backbone.", 3, 1000, "F16"),
    ):
        stored = [*theirs(family, name, matched, in_chans, num_classes, dtype), *beside]
        found = [tensor._replace(name=prefix + tensor.name) for tensor in stored]
        best = identify({tensor.name: tensor for tensor in found})[0]
        assert name in best.architectures
        assert (best.layout, best.prefix) == ("timm" if same_names and not beside else layout, prefix)
        assert (best.in_chans, best.adapted, best.match, best.share) == (in_chans, in_chans != 3, "exact", 1)
        assert best.num_classes == (num_classes if has_head else 0)


@pytest.mark.parametrize(("layout", "table"), all_tables())
def test_a_changed_network_of_another_ecosystem_gets_guesses(layout: str, table: Table):
    family, name, matched = in_their_names(layout, table)
    stored = sorted(theirs(family, name, matched, 3, 17, "F32"))
    values = [tensor for tensor in stored if not tensor.name.endswith("num_batches_tracked")]
    stored.remove(values[len(values) // 2])
    stored.append(StoredTensor("adapter.down.weight", "F32", (8, 8), bytes(256)))
    guesses = identify({f"net.{tensor.name}": tensor._replace(name=f"net.{tensor.name}") for tensor in stored})
    # The trunk of a tower whose head is beside it may be another architecture's as well.
    assert any(name in guess.architectures for guess in guesses[: 3 if table.family.endswith("with an MLP") else 1])
    assert guesses[0].match == "similar"
    assert guesses[0].prefix.startswith("net.")
    # Timm's names: of an encoder that a table only leaves things out of, and behind the names of these modules.
    renames = any(step.timm != step.theirs for step in matched.steps if step.timm)
    is_timms = not renames or guesses[0].prefix in ("net.visual.trunk.", "net.backbone.")
    assert guesses[0].layout == ("timm" if is_timms else layout)


# Names that differ from timm's by a prefix alone are those of many programs.
ONLY_A_PREFIX = ("ResNet", "ResNet in a segmenter")


@pytest.mark.parametrize(("layout", "table"), all_tables(wrapped=False))
def test_the_architecture_in_a_file_of_another_ecosystem(layout: str, table: Table):
    family, name, matched = in_their_names(layout, table)
    stored = theirs(family, name, matched, 3, 1000, "F32")
    best = identify({tensor.name: tensor for tensor in stored})[0]
    assert name in best.architectures
    assert best.match == "exact"
    if table.family not in ONLY_A_PREFIX:
        assert (best.layout, best.prefix) == (layout, "")


def test_a_part_with_a_name_of_another_ecosystem_is_no_network():
    facts = golden("resnet")["resnet10t"]
    found = tensors(facts, prefix="encoder.net.")
    # VGG of torchvision has a layer of this name, of another shape.
    found |= tensors({"keys": {"classifier.0.weight": ((64, 64), "float32")}}, prefix="decoder.")
    best = identify(found)[0]
    assert ("resnet10t" in best.architectures, best.layout, best.prefix) == (True, "timm", "encoder.net.")
