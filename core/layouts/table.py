"""The tables that define layouts.

A table is text with one row per line: timm's key, theirs, and after a bar the operation on the tensor.

    patch_embed.proj.*    conv_proj.*
    blocks.{i}.           encoder.layer.{i}.
      attn.qkv.*            q.* k.* v.*
      mlp.fc1.weight        mlp.kernel           | transpose 1 0
    -                     pooler.*             | dropped not part of the model

Several of their keys are joined along the first axis. Several of timm's keys, separated by `&`, are parts of their
tensor. Indented rows belong to the module of the row above them. A module may occur several times, once per kind: each
instance in a checkpoint is of the first kind that has a row for all its tensors. `-` stands for a tensor that one side
lacks. For the patterns see `pattern.Pattern`. The word after the bar is one of `operations.OPERATIONS`, one of
`operations.DERIVED` with the tensor of the same side that it is derived from, `class_position`, or `dropped` with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal, NamedTuple

from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD
from zoo.core.layouts.operations import (
    DERIVED,
    OPERATIONS,
    ClassPosition,
    Derived,
    Dropped,
    Operation,
    OuterThirds,
    Parts,
    Unchanged,
)
from zoo.core.layouts.pattern import Pattern

Shapes = Mapping[str, Sequence[int]]
Side = Literal["timm", "theirs"]


class Twins(NamedTuple):
    """timm's architectures, as wildcards separated by spaces, that compute the same if built with these arguments.

    Keys and shapes alone do not decide it: `tf_` architectures share theirs with others.
    """

    names: str
    model_args: tuple[tuple[str, Any], ...] = ()


class Table(NamedTuple):
    """One family of another ecosystem.

    Args:
        family: its name, for messages.
        rows: the table, as described above.
        twins: timm's architectures that compute the same.
        mean, std: normalisation of the image that the family's published weights expect.
        note: what the user should know about the conversion.
        bands: what the channels of the image are, if the family's weights read these.
        fits: whether the table is for a checkpoint in timm's layout; if two tables share timm's keys, the shapes
            decide. `fits_theirs`: the same for a checkpoint with their keys.
    """

    family: str
    rows: str
    twins: tuple[Twins, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    note: str = ""
    fits: Callable[[Shapes], bool] = lambda _: True
    bands: tuple[str, ...] = ()
    fits_theirs: Callable[[Shapes], bool] = lambda _: True

    @property
    def takes_any_name(self) -> bool:
        """Whether whatever stands below its prefix has a row: then names alone do not tell the ecosystem."""
        return any(line.split()[:1] == ["**"] for line in self.rows.splitlines())

    def twin(self, names: Iterable[str]) -> tuple[str, dict[str, Any]] | None:
        """The first of these architectures that computes the same, and the arguments to build it with."""
        found = (
            (name, dict(twins.model_args))
            for twins in self.twins
            for name in names
            if any(fnmatchcase(name, wildcard) for wildcard in twins.names.split())
        )
        return next(found, None)


class Row(NamedTuple):
    """Tensors on timm's side and on theirs with the same values, within the module of a group."""

    timm: tuple[Pattern, ...]
    theirs: tuple[Pattern, ...]
    operation: Operation | ClassPosition | Derived | Dropped

    @property
    def shares(self) -> tuple[int, ...]:
        """The proportions in which timm's tensors divide the first axis."""
        if isinstance(self.operation, OuterThirds):
            return (1, 1)
        return self.operation.shares if isinstance(self.operation, Parts) else (1,)

    def side(self, side: Side) -> tuple[Pattern, ...]:
        return self.timm if side == "timm" else self.theirs


class Group(NamedTuple):
    """A module that repeats, with its kinds; the first group is the model itself."""

    timm: Pattern
    theirs: Pattern
    kinds: list[list[Row]]

    def side(self, side: Side) -> Pattern:
        return self.timm if side == "timm" else self.theirs


@cache
def parse(rows: str) -> list[Group]:
    """The groups of a table's text, the model itself first."""
    groups = {("", ""): Group(Pattern(""), Pattern(""), [[]])}
    kind = groups["", ""].kinds[0]
    for line in filter(str.strip, rows.splitlines()):
        keys, _, action = line.partition("|")
        timm, *theirs = keys.split()
        if timm.endswith((".", "/")):
            group = groups.setdefault((timm, theirs[0]), Group(Pattern(timm), Pattern(theirs[0]), []))
            group.kinds.append(kind := [])
        else:
            rows_here = kind if line[0] == " " else groups["", ""].kinds[0]
            rows_here.append(Row(_patterns(timm.split("&")), _patterns(theirs), _operation(action.split())))
    return list(groups.values())


def _patterns(texts: list[str]) -> tuple[Pattern, ...]:
    return tuple(Pattern(text) for text in texts if text != "-")


def below(prefix: str, rows: str) -> str:
    """The rows of a network whose names, on their side, begin with a prefix."""
    return "\n".join(_below(prefix, line) for line in rows.splitlines())


def _below(prefix: str, line: str) -> str:
    keys, bar, action = line.partition("|")
    if not keys.strip() or keys.startswith(" "):
        return line
    timm, *theirs = keys.split()
    named = " ".join(name if name == "-" else prefix + name for name in theirs)
    return f"{timm}  {named}  {bar}{action}"


def _operation(words: list[str]) -> Operation | ClassPosition | Derived | Dropped:
    if not words:
        return Unchanged()
    word, *arguments = words
    if word == "class_position":
        return ClassPosition()
    if word == "dropped":
        return Dropped(" ".join(arguments))
    if word in DERIVED:
        return Derived(DERIVED[word], arguments[0])
    return OPERATIONS[word](tuple(map(int, arguments)))
