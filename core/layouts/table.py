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
`operations.DERIVED` with the tensor that it is derived from, or `dropped` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal, NamedTuple

from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD
from zoo.core.layouts.operations import DERIVED, OPERATIONS, Derived, Dropped, Operation, Parts, Unchanged
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
        fits: whether the table is for a checkpoint in timm's layout; if two tables share timm's keys, the shapes
            decide.
    """

    family: str
    rows: str
    twins: tuple[Twins, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    note: str = ""
    fits: Callable[[Shapes], bool] = lambda _: True

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
    operation: Operation | Derived | Dropped

    @property
    def shares(self) -> tuple[int, ...]:
        """The proportions in which timm's tensors divide the first axis."""
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


def _operation(words: list[str]) -> Operation | Derived | Dropped:
    if not words:
        return Unchanged()
    word, *arguments = words
    if word == "dropped":
        return Dropped(" ".join(arguments))
    if word in DERIVED:
        return Derived(DERIVED[word], arguments[0])
    return OPERATIONS[word](tuple(map(int, arguments)))
