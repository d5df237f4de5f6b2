"""The columns of the table of models: what conditions, orders and outputs name. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

from zoo.core.architectures import accuracy, model_columns
from zoo.core.architectures.accuracy import Accuracy
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.architectures.model_columns import from_runs
from zoo.core.architectures.model_facts import CROP_PCT, IMAGE_SIZE, INTERPOLATION, LICENSE, NUM_CLASSES
from zoo.core.architectures.names import split_model_name_tag

Kind = Literal["text", "number", "numbers", "flag"]
Value = str | float | int | bool | tuple[int, ...] | None


class ModelRow:
    """A model of the table: an architecture with the config of one of its tags, by default the first.

    Args:
        full_name: `name` or `name.tag` of a built-in architecture.
        line: its line in the table of columns.
    """

    def __init__(self, full_name: str, line: Mapping[str, Any]) -> None:
        self.full_name = full_name
        self.architecture, named = split_model_name_tag(full_name)
        self.line = line
        tag = named or next(iter(line["tags"]))
        self.tag = "" if tag == UNTRAINED else tag
        self.cfg: Mapping[str, Any] = line["tags"][tag]
        stated = self.cfg.get("input_size", IMAGE_SIZE)
        self.input_size: list[int] = [3, stated, stated] if isinstance(stated, int) else stated
        """Channels, height and width in pixels of the config."""

    @cached_property
    def accuracy(self) -> Accuracy | None:
        """What is published at the height of `input_size`."""
        return accuracy.of_many(f"{self.architecture}.{self.tag}", self.input_size[1]) if self.tag else None

    @property
    def params_and_macs(self) -> tuple[int | None, int | None]:
        """Parameters and multiply-accumulates for one image of `input_size`; None where not measured."""
        if self.input_size == self.line["input_size"]:
            return self.line["params"], self.line["macs"]
        return self.cfg.get("params", self.line["params"]), self.cfg.get("macs")

    def published(self, figure: str) -> float | None:
        """A figure of the published accuracy by its name; None if it is not published."""
        found: float | None = getattr(self.accuracy, figure, None)
        return found


class Column(NamedTuple):
    """A column: its name, what its values are, how a row gives one, and a phrase that says what it is.

    A value of kind "numbers" is a tuple; a condition holds if it holds for one of them. None is an unknown value.
    """

    name: str
    kind: Kind
    value: Callable[[ModelRow], Value]
    phrase: str
    is_percent: bool = False
    is_large: bool = False


def _stated(key: str, default: Value) -> Callable[[ModelRow], Value]:
    return lambda row: row.cfg.get(key, default)


def _percent(name: str, phrase: str) -> Column:
    return Column(name, "number", lambda row: row.published(name), phrase, is_percent=True)


_ALL = (
    Column("name", "text", lambda row: row.full_name, "name, or name.tag with --pretrained"),
    Column("family", "text", lambda row: row.line["family"], "family"),
    Column("tag", "text", lambda row: row.tag or None, "tag of the weights"),
    Column("params", "number", lambda row: row.params_and_macs[0], "parameters", is_large=True),
    Column("macs", "number", lambda row: row.params_and_macs[1], "multiply-accumulates for one image", is_large=True),
    _percent("top1", "published top-1 accuracy on ImageNet-1k in percent"),
    _percent("top5", "published top-5 accuracy"),
    _percent("real_top1", "top-1 with the reassessed labels (ReaL)"),
    _percent("real_top5", "top-5 with the reassessed labels"),
    Column("input", "number", lambda row: max(row.input_size[1:]), "longer side of the input in pixels"),
    Column("crop", "number", _stated("crop_pct", CROP_PCT), "share of the image in the central crop"),
    Column("interpolation", "text", _stated("interpolation", INTERPOLATION), "filter that resizes the image"),
    Column("classes", "number", _stated("num_classes", NUM_CLASSES), "classes of the classifier"),
    Column("license", "text", _stated("license", LICENSE), "licence of the weights"),
    Column("stride", "numbers", lambda row: from_runs(row.line["stride"]), "strides of the feature levels"),
    Column("channels", "numbers", lambda row: from_runs(row.line["channels"]), "channels of the feature levels"),
    Column("features", "number", lambda row: row.line["features"], "channels of the last map"),
    Column("pretrained", "flag", lambda row: bool(row.tag), "whether weights are published"),
    Column("fixed", "flag", _stated("fixed_input_size", False), "whether the input has to have its size"),
)

COLUMNS: Mapping[str, Column] = {column.name: column for column in _ALL}


def rows_of(names: Iterable[str]) -> list[ModelRow]:
    """The rows of built-in models by `name` or `name.tag`; a name that is not in the table is left out."""
    lines = model_columns.lines()
    found = ((name, lines.get(name.partition(".")[0])) for name in names)
    return [ModelRow(name, line) for name, line in found if line is not None]
