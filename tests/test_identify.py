"""Architectures are recognised by names and shapes; those are timm's, recorded in tests/golden."""

from __future__ import annotations

import subprocess
import sys
from math import prod

import pytest

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import ExitCode
from zoo.core.identify import identify
from zoo.core.registry import families
from zoo.core.stored_tensor import StoredTensor

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
    assert best.num_classes == 17


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
    facts = golden(family)[smallest(family)]
    found = tensors(facts)
    extra = found | {"decode_head.conv.weight": StoredTensor("decode_head.conv.weight", "F32", (1, 2, 3, 3), b"")}
    assert identify(extra) == []
    inside = {f"encoder.{name}": tensor for name, tensor in found.items()} | {
        name: tensor for name, tensor in extra.items() if name.startswith("decode_head")
    }
    best = identify(inside)[0]
    assert smallest(family) in best.architectures
    assert best.prefix == "encoder."
    assert best.share == pytest.approx(len(found) / (len(found) + 1))


def test_nothing_is_recognised_in_other_tensors():
    assert identify({}) == []
    assert identify({"conv1.weight": StoredTensor("conv1.weight", "F32", (64, 3, 7, 7), b"")}) == []


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
