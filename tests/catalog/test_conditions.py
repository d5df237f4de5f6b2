"""Conditions over the table of models: what holds, and where a mistake is pointed at."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from zoo.core.architectures import registry
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.catalog.columns import rows_of
from zoo.core.catalog.conditions import parse_condition
from zoo.core.errors import UsageError

from golden import golden, published_results

Facts = dict[str, Any]
Filter = Callable[[Facts], bool]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Facts]:
    """Every `name` and `name.tag` with what an independent implementation and its tables of results say of it."""
    top1 = {(row["model"], int(row["img_size"])): float(row["top1"]) for row in published_results("results-imagenet")}
    top5 = {(row["model"], int(row["img_size"])): float(row["top5"]) for row in published_results("results-imagenet")}
    real = {
        (row["model"], int(row["img_size"])): float(row["top1"]) for row in published_results("results-imagenet-real")
    }
    levels = json.loads(registry.INDEX_PATH.read_text())["models"]
    found = {}
    for family in registry.families():
        for name, facts in golden(family).items():
            default = facts["default_tag"] if facts["default_tag"] in facts["cfgs"] else next(iter(facts["cfgs"]))
            for tag, cfg in {"": facts["cfgs"][default], **facts["cfgs"]}.items():
                actual = "" if (tag or default) == UNTRAINED else tag or default
                at = (f"{name}.{actual}", cfg["input_size"][1])
                default_size = facts["cfgs"][default]["input_size"]
                found[f"{name}.{tag}" if tag else name] = {
                    "name": f"{name}.{tag}" if tag else name,
                    "family": family,
                    "tag": actual,
                    "params": facts["params"],
                    "macs": facts["flops"] // 2 if cfg["input_size"] == default_size else None,
                    "input": max(cfg["input_size"][1:]),
                    "license": cfg.get("license"),
                    "classes": cfg["num_classes"],
                    "crop": cfg["crop_pct"],
                    "fixed": cfg["fixed_input_size"],
                    # timm names the levels that it gives by default; test_registry compares these.
                    "strides": [reduction for _, _, reduction in levels[name]["levels"]],
                    "channels": [channels for _, channels, _ in levels[name]["levels"]],
                    "features": facts["num_features"],
                    "top1": top1.get(at),
                    "top5": top5.get(at),
                    "real": real.get(at),
                }
    return found


def names_of(recorded: dict[str, Facts], *, pretrained: bool) -> list[str]:
    """What zoo lists, but for the three tags of Python packages, which only zoo has."""
    names = [name for name in registry.list_models(pretrained=pretrained) if not name.endswith(".pypi_in1k")]
    assert set(names) <= set(recorded)
    return names


def above(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


FILTERS: list[tuple[str, Filter]] = [
    ("params<30M", lambda f: f["params"] < 30_000_000),
    (
        "params<30M and license~apache and top1>80 and input<=256 and stride=8 and family!=resnet",
        lambda f: (
            f["params"] < 30e6
            and "apache" in (f["license"] or "")
            and above(f["top1"], 80)
            and f["input"] <= 256
            and 8 in f["strides"]
            and f["family"] != "resnet"
        ),
    ),
    ("top1>80 or top5>96.5", lambda f: above(f["top1"], 80) or above(f["top5"], 96.5)),
    ("not (top1>80 or params>=25_000_000)", lambda f: not (above(f["top1"], 80) or f["params"] >= 25e6)),
    ("top1=unknown and pretrained", lambda f: f["top1"] is None and f["tag"] != ""),
    ("not pretrained", lambda f: f["tag"] == ""),
    ("pretrained=no", lambda f: f["tag"] == ""),
    ("real_top1 >= 88 and fixed", lambda f: f["real"] is not None and f["real"] >= 88 and f["fixed"]),
    ("license = unknown", lambda f: f["license"] is None),
    ("license!~apache", lambda f: "apache" not in (f["license"] or "")),
    ("license=cc*", lambda f: (f["license"] or "").startswith("cc")),
    ("name='*50*' and family=ResNet", lambda f: "50" in f["name"] and f["family"] == "resnet"),
    ("stride!=4", lambda f: 4 not in f["strides"]),
    ("stride<4 and channels>1k", lambda f: any(s < 4 for s in f["strides"]) and any(c > 1000 for c in f["channels"])),
    ("classes=0 or classes>20e3", lambda f: f["classes"] == 0 or f["classes"] > 20_000),
    ("crop==0.95 AND features>=2048", lambda f: f["crop"] == 0.95 and f["features"] >= 2048),
    ("tag~in22k and not tag~in1k", lambda f: "in22k" in f["tag"] and "in1k" not in f["tag"]),
    # `and` binds closer than `or`, and `not` closer than both.
    (
        "family=vgg or family=resnet and not params<20M",
        lambda f: f["family"] == "vgg" or (f["family"] == "resnet" and f["params"] >= 20e6),
    ),
]


@pytest.mark.parametrize("pretrained", [False, True], ids=["architectures", "tags"])
@pytest.mark.parametrize(("condition", "wanted"), FILTERS, ids=[text for text, _ in FILTERS])
def test_a_condition_selects_what_the_same_filter_in_python_does(
    recorded: dict[str, Facts], condition: str, wanted: Filter, pretrained: bool
):
    names = names_of(recorded, pretrained=pretrained)
    expected = [name for name in names if wanted(recorded[name])]
    holds = parse_condition(condition).holds
    assert [row.full_name for row in rows_of(names) if holds(row)] == expected
    assert 0 < len(expected) < len(names) or condition in ALL_OR_NONE_OF_TAGS


ALL_OR_NONE_OF_TAGS = {"not pretrained", "pretrained=no"}
"""Conditions that hold for no model with a tag."""


def test_multiply_accumulates_are_those_recorded(recorded: dict[str, Facts]):
    holds = parse_condition("macs<1G").holds
    for row in rows_of(names_of(recorded, pretrained=True)):
        macs = recorded[row.full_name]["macs"]
        if macs is not None:
            assert holds(row) is (macs < 1e9), row.full_name


# Benchmarks of timm (results/benchmark-infer-*.csv) state GMACs, which count norms too, at sizes of other tags.
@pytest.mark.parametrize(
    ("name", "size", "gmacs"),
    [
        ("caformer_s18.sail_in22k_ft_in1k_384", 384, 13.42),
        ("convnext_base.clip_laion2b", 256, 20.09),
        ("resnet50.fb_swsl_ig1b_ft_in1k", 224, 4.11),
        ("convnext_tiny.in12k_ft_in1k_384", 384, 13.14),
    ],
)
def test_multiply_accumulates_are_those_of_the_size_of_the_tag(name: str, size: int, gmacs: float):
    (row,) = rows_of([name])
    assert row.input_size == [3, size, size]
    assert row.params_and_macs[1] == pytest.approx(gmacs * 1e9, rel=0.01)


# The text, the part of it that is wrong, and words of the message.
MALFORMED = [
    ("", "", "is empty"),
    ("   ", " ", "is empty"),
    ("prams<3M", "prams", "No column is called 'prams'"),
    ("params<3M and tpo1>80", "tpo1", "No column is called 'tpo1'"),
    ("'params'<3M", "'params'", "No column"),
    ("80<top1", "80", "found the number 80"),
    ("<3M", "<", "Expected a column, found '<'"),
    (")", ")", "Expected a column, found ')'"),
    ("()", ")", "Expected a column, found ')'"),
    ("and top1>80", "and", "Expected a column, found 'and'"),
    ("top1>80 and", "", "Expected a column, found the end"),
    ("top1>80 or", "", "Expected a column, found the end"),
    ("top1>80 and and input<256", "and", "found 'and'"),
    ("not", "", "found the end"),
    ("top1>80 not input<256", "not", "Expected 'and' or 'or' before 'not'"),
    ("top1>80 input<256", "input", "Expected 'and' or 'or' before 'input'"),
    ("top1", "", "Expected a comparison after top1"),
    ("params and top1>80", "and", "Expected a comparison after params"),
    ("params 30M", "30M", "Expected a comparison after params"),
    ("params<", "", "Expected a value for params, found the end"),
    ("params< and top1>80", "and", "Expected a value for params, found 'and'"),
    ("params<)", ")", "Expected a value for params, found ')'"),
    ("params<>30M", ">", "Two comparisons stand together"),
    ("params=<30M", "<", "Two comparisons stand together"),
    ("params<abc", "abc", "params is a number, found 'abc'"),
    ("params<30X", "30X", "params is a number, found '30X'"),
    ("params<1.2.3", "1.2.3", "params is a number"),
    ("params<'30 M'", "'30 M'", "params is a number, found '30 M'"),
    ("params~30", "~", "params is a number, and ~ looks into texts"),
    ("params<30%", "30%", "params is no percentage"),
    ("stride<=x8", "x8", "stride is a number"),
    ("license<apache", "<", "license is a text, and texts have no order"),
    ("name>=resnet", ">=", "name is a text"),
    ("pretrained>1", ">", "pretrained is yes or no"),
    ("pretrained=maybe", "maybe", "pretrained is yes or no, found 'maybe'"),
    ("top1>0.8", "0.8", "top1 is in percent, found 0.8"),
    ("top1>unknown", ">", "An unknown value has no order"),
    ("(top1>80", "(", "This bracket is never closed"),
    ("(top1>80 and (input<256)", "(", "This bracket is never closed"),
    ("(top1>80 input<256)", "input", "Expected ')', 'and' or 'or'"),
    ("top1>80)", ")", "This bracket closes none"),
    ("license~'apache", "'", "The text in quotes does not end"),
    ("top1>80 && input<256", "&", "'&' has no meaning here"),
    ("top1>80 | input<256", "|", "'|' has no meaning here"),
    ("top1>80, input<256", ",", "',' has no meaning here"),
    ("!pretrained", "!", "'!' has no meaning here"),
    ("license~cc by", "by", "Expected 'and' or 'or' before 'by'"),
    ("naïve=1", "naïve", "No column is called 'naïve'"),
    ("top1>80\nand x", "x", "No column is called 'x'"),
    ("(" * 60 + "top1>80" + ")" * 60, "(", "nested at most 50 deep"),
    ("not " * 60 + "pretrained", "not", "nested at most 50 deep"),
]


@pytest.mark.parametrize(("text", "part", "message"), MALFORMED, ids=[text[:40] or "empty" for text, _, _ in MALFORMED])
def test_a_mistake_is_pointed_at(text: str, part: str, message: str):
    with pytest.raises(UsageError) as caught:
        parse_condition(text)
    assert message in caught.value.message
    assert caught.value.hint
    place = caught.value.place
    assert place is not None
    assert place.text == text
    assert text[place.start : place.stop] == part
    assert place.start < place.stop


@pytest.mark.parametrize(
    ("text", "start"),
    [("top1>80 and and input<256", 12), ("params<30M and (top1>80", 15), ("top1", 4), ("top1>80 and  ", 11)],
)
def test_the_place_is_the_right_one_of_several(text: str, start: int):
    with pytest.raises(UsageError) as caught:
        parse_condition(text)
    assert caught.value.place is not None
    assert caught.value.place.start == start


def test_there_are_forty_and_a_long_text_is_refused_quickly():
    assert len(MALFORMED) >= 40
    with pytest.raises(UsageError, match="at most 4096 characters"):
        parse_condition("top1>80 and " * 100_000)


@pytest.mark.parametrize(
    ("word", "near"), [("licence=mit", "license"), ("flops<1G", "macs"), ("parms<1M", "params"), ("size<256", "input")]
)
def test_a_wrong_column_names_the_right_one(word: str, near: str):
    with pytest.raises(UsageError) as caught:
        parse_condition(word)
    assert caught.value.hint == f"Did you mean {near}?"
