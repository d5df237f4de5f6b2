"""What zoo knows of a family stands in the family's own files, and in tables that are made from them."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo
from zoo.core.architectures import registry
from zoo.core.architectures.family_facts import FAMILIES_PATH, SizedTensors, families_of_sizes, size_facts
from zoo.core.model.build_index import family_lines
from zoo.core.resize.rules import RULES, SIZES

from golden import golden

ROOT = Path(__file__).parents[2]
ROOMS = ("cli", "core", "models", "weights_cache", "zoo")
FAMILIES = registry.families()

EXEMPT = {
    "core/architectures/aliases.py": "old names of architectures, some of which are families' names too",
    "zoo/published_names.py": "constants that published code imports by names of families",
    "core/layouts": "facts about foreign checkpoints of one architecture",
}
"""Files and folders that may name families, and why."""


def is_of_a_family(path: Path) -> bool:
    """Whether this is one of the two files of a family, or of the tables and parts beside them."""
    folder, name = path.parent, path.stem.removeprefix("_")
    homes = (ROOT / "models", ROOT / "core/architectures/configs")
    return folder in homes and any(name == family or name.startswith(f"{family}_") for family in FAMILIES)


def files_of_no_family() -> Iterator[Path]:
    exempt = tuple(ROOT / path for path in EXEMPT)
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not is_of_a_family(path) and not any(path.is_relative_to(one) for one in exempt):
                yield path


def tokens(path: Path) -> Iterator[tuple[bool, str]]:
    """What the code of a file consists of but comments: whether it is an identifier, and the text."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type != tokenize.COMMENT:
            yield token.type == tokenize.NAME, token.string


def families_named(path: Path) -> set[str]:
    """The families that a file names, as a word of a text or of an identifier.

    `resnet*` is a pattern of architectures.
    """
    built = "|".join(sorted(FAMILIES, key=len, reverse=True))
    in_text, in_identifier = re.compile(rf"\b({built})\b(?!\*)"), re.compile(rf"(?<![a-z0-9])({built})(?![a-z0-9])")
    found: set[str] = set()
    for is_identifier, text in tokens(path):
        found.update(in_identifier.findall(text.lower()) if is_identifier else in_text.findall(text))
    return found


def test_no_family_is_named_outside_its_own_files():
    named = {str(path.relative_to(ROOT)): families_named(path) for path in files_of_no_family()}
    assert len(named) > 200
    assert {path: families for path, families in named.items() if families} == {}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('if family == "vgg": pass', {"vgg"}),
        ("VGG_STRIDE = 4", {"vgg"}),
        ("from zoo.models import vgg", {"vgg"}),
        ('if family == "tiny_vit": pass', {"tiny_vit"}),
        ('"""Of the family vgg."""', {"vgg"}),
        ("# As vgg does.", set()),
        ('"vgg11 and vgg*, a resnet34"', set()),
    ],
)
def test_naming_a_family_is_noticed(tmp_path: Path, code: str, found: set[str]):
    path = tmp_path / "code.py"
    path.write_text(code)
    assert families_named(path) == found


# ---------------------------------------------------------------- the table of families


def test_the_table_is_made_from_the_specs():
    assert json.loads(FAMILIES_PATH.read_text())["families"] == json.loads(json.dumps(family_lines()))
    for family in FAMILIES:
        assert all(spec.sizes == size_facts(family) for spec in registry.variants(family).values())


@pytest.mark.parametrize("family", families_of_sizes())
def test_the_table_names_rules_that_there_are(family: str):
    for one in size_facts(family).tensors:
        assert isinstance(one, SizedTensors)
        assert re.compile(one.names)
        assert one.rule in RULES
        assert one.rule in SIZES or not one.tells_size


def families_with(field: str) -> list[str]:
    return [family for family in FAMILIES if any(hasattr(spec, field) for spec in registry.variants(family).values())]


@pytest.mark.parametrize("family", families_with("img_size"))
def test_the_tensors_that_follow_the_image_size_are_those_that_the_spec_names(family: str):
    sized = [name for name, spec in registry.variants(family).items() if hasattr(spec, "img_size")]
    name = min(sized, key=lambda one: golden(family)[one]["params"])
    small = registry.variants(family)[name].small_size
    first, second = (
        {key: tensor.shape for key, tensor in zoo.create_model(name, img_size=size, device="meta").state_dict().items()}
        for size in (small, 2 * small)
    )
    differing = {key for key in first if first[key] != second[key]}
    named = {key for key in first for one in size_facts(family).tensors if re.fullmatch(one.names, key)}
    # A bias goes with its weight, which is named or refused.
    biases = {f"{key.removesuffix('.weight')}.bias" for key in named if key.endswith(".weight")}
    assert bool(differing) == bool(named)  # a size may be of the tensors of other files only
    assert differing <= named | biases
