"""Files that hold several networks, or one below several names: which are told, and in which order."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.identify.identify import identify

from golden import golden
from weight_bytes import weight_bytes

Shapes = dict[str, tuple[int, ...]]
SMALL, LARGE, TOWER = ("resnet", "resnet10t"), ("resnet", "resnet26d"), ("convnext", "convnext_atto")
VIT = ("vision_transformer", "vit_tiny_patch16_224")


def shapes(model: tuple[str, str], prefix: str = "") -> Shapes:
    family, name = model
    return {f"{prefix}{key}": tuple(shape) for key, (shape, _) in golden(family)[name]["keys"].items()}


def stored(found: Shapes) -> dict[str, StoredTensor]:
    return {name: StoredTensor(name, "F16", shape, b"") for name, shape in found.items()}


def told(found: Shapes) -> list[tuple[str, str]]:
    """The prefix and one architecture of each network, in order."""
    return [(one.prefix, one.architectures[0]) for one in identify(stored(found))]


@pytest.mark.parametrize("prefixes", [("a.", "encoder.second."), ("encoder.second.", "a.")])
def test_the_network_with_most_of_the_tensors_comes_first(prefixes: tuple[str, str]):
    small, large = prefixes
    found = shapes(SMALL, small) | shapes(LARGE, large)
    assert len(shapes(LARGE)) > len(shapes(SMALL))
    assert told(found) == [(large, LARGE[1]), (small, SMALL[1])]
    shares = [one.share for one in identify(stored(found))]
    assert shares == [len(shapes(model)) / len(found) for model in (LARGE, SMALL)]


def test_of_two_with_as_many_tensors_the_first_by_name_comes_first():
    found = shapes(SMALL, "z.") | shapes(SMALL, "teacher.")
    assert told(found) == [("teacher.", SMALL[1]), ("z.", SMALL[1])]


@pytest.mark.parametrize("outer", ["", "net.", "model.clip."])
def test_what_is_inside_a_network_that_was_recognised_is_not_told_again(outer: str):
    """open_clip puts timm's own names into its towers, so that the tower alone is a network too."""
    trunk = shapes(TOWER, f"{outer}visual.trunk.")
    head = trunk.pop(f"{outer}visual.trunk.head.fc.weight")
    del trunk[f"{outer}visual.trunk.head.fc.bias"]
    assert [one.prefix for one in identify(stored(trunk | {f"{outer}projector": (8, 8)}))] == [f"{outer}visual.trunk."]
    around = {f"{outer}visual.head.proj.weight": head}
    around |= {f"{outer}text.token_embedding.weight": (8, 8), f"{outer}logit_scale": ()}
    (only,) = identify(stored(trunk | around))
    assert (only.prefix, only.layout, only.share) == (outer, "open_clip", 1)
    assert TOWER[1] in only.architectures


def test_a_prefix_that_begins_like_another_is_a_network_of_its_own():
    found = shapes(SMALL, "net.") | shapes(SMALL, "net2.") | shapes(SMALL, "network.inner.")
    assert [prefix for prefix, _ in told(found)] == ["net.", "net2.", "network.inner."]


def test_the_command_lists_them_in_that_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = shapes(SMALL, "head.") | shapes(LARGE, "trunk.")
    path = tmp_path / "two.safetensors"
    path.write_bytes(weight_bytes({name: ("F16", shape, bytes(2 * prod(shape))) for name, shape in found.items()}))
    assert errors.run(app, ["identify", str(path), "--json"]) == 0
    candidates = json.loads(capsys.readouterr().out)["candidates"]
    assert [one["prefix"] for one in candidates] == ["trunk.", "head."]


@pytest.mark.parametrize("patch", [(8, 16), (16, 8)])
def test_a_patch_that_is_not_square_is_told_as_it_is(patch: tuple[int, int]):
    found = stored(shapes(VIT))
    kernel = found["patch_embed.proj.weight"]
    found["patch_embed.proj.weight"] = kernel._replace(shape=(*kernel.shape[:2], *patch))
    (best, *_) = identify(found)
    assert (best.match, best.patch_size) == ("other size", patch)
    # 14 x 14 positions: not known, or each of them a patch.
    assert best.image_size in (None, (14 * patch[0], 14 * patch[1]))
