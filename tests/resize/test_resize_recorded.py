"""Resized tensors against those that timm made, recorded in tests/golden/resized: no timm is needed.

What is compared is the whole way from a file's names and shapes to new values.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from zoo.core.errors import InvalidInputError
from zoo.core.resize.plan import image_size_of, plan_resizes

from golden import resized

CASES = json.loads(Path(resized.__file__).with_name("tables.json").read_text())


def name_of(case):
    return f"{case['architecture']}-{case['tensor']}-{case['source_size']}-{case['img_size']}-{case['patch_size']}"


def plan(case, **stated):
    return plan_resizes(
        case["family"],
        case["shapes"],
        img_size=tuple(case["img_size"]),
        patch_size=case["patch_size"],
        architecture=case["architecture"],
        **stated,
    )


def assert_as_recorded(found, case):
    assert found.shape == tuple(case["shape"])
    np.testing.assert_allclose(found.ravel(), case["values"], atol=2e-5)


def test_every_kind_is_recorded():
    kinds = {(case["family"], case["tensor"].rpartition(".")[2]) for case in CASES}
    assert kinds >= {
        ("vision_transformer", "pos_embed"), ("deit", "pos_embed"), ("vision_transformer_sam", "pos_embed"),
        ("beit", "relative_position_bias_table"), ("swin_transformer", "relative_position_bias_table"),
        ("vision_transformer", "weight"),
    }  # fmt: skip
    assert any(case["source_size"][0] != case["source_size"][1] for case in CASES)
    assert any(case["img_size"][0] != case["img_size"][1] for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_tensors_as_timm_resizes_them(case):
    before = resized.wave(case["shapes"][case["tensor"]])
    resizes = plan(case, source_size=tuple(case["source_size"]), stated=True)
    found = resizes[case["tensor"]].apply(before) if case["tensor"] in resizes else before
    assert_as_recorded(found, case)


SQUARE = [case for case in CASES if case["source_size"][0] == case["source_size"][1] and not case["patch_size"]]


@pytest.mark.parametrize("case", SQUARE, ids=name_of)
def test_a_square_source_needs_no_statement(case):
    """The default size of the architecture is another one (224) than the tensors are for."""
    before = resized.wave(case["shapes"][case["tensor"]])
    source = image_size_of(case["family"], case["shapes"], source_size=224)
    if case["family"] == "swin_transformer":  # its windows tell no image size
        source = tuple(case["source_size"])
    assert source == tuple(case["source_size"])
    assert_as_recorded(plan(case, source_size=source)[case["tensor"]].apply(before), case)


OBLONG = [
    case for case in CASES
    if case["source_size"][0] != case["source_size"][1] and case["family"] != "vision_transformer_sam"
]  # fmt: skip


@pytest.mark.parametrize("case", OBLONG, ids=name_of)
def test_an_oblong_source_without_a_statement_is_refused_with_the_grids_that_it_could_be(case):
    with pytest.raises(InvalidInputError, match="4 x 12") as caught:
        plan(case, source_size=224)
    assert "--source-size" in (caught.value.hint or "")
