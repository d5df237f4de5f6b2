"""Sort a model's parameters into layers by the expressions that its `group_matcher` gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch.nn as nn

from zoo.models.layer_groups import WITH_THE_LAST

Matcher = Mapping[str, Any] | Callable[[str], Any]


def group_parameters(
    module: nn.Module, group_matcher: Matcher, return_values: bool = False, reverse: bool = False
) -> dict[Any, Any]:
    """Layer number -> names of its parameters, from the input on; what no expression matches is the last layer.

    Args:
        group_matcher: what `group_matcher()` of a model gives, or a function from a name to the layer's order.
        return_values: give the parameters instead of their names.
        reverse: give name -> layer number.
    """
    return _groups(module.named_parameters(), group_matcher, return_values, reverse)


def group_modules(
    module: nn.Module, group_matcher: Matcher, return_values: bool = False, reverse: bool = False
) -> dict[Any, Any]:
    """As `group_parameters`, for the modules that hold parameters of their own."""
    named = ((name, part) for name, part in module.named_modules() if name and part._parameters)
    return _groups(named, group_matcher, return_values, reverse)


def model_parameters(model: nn.Module, exclude_head: bool = False) -> list[nn.Parameter]:
    """The parameters of a model, without its classifiers if wanted."""
    paths = tuple(f"{path}." for path in getattr(model, "classifier_paths", ()))
    return [value for name, value in model.named_parameters() if not (exclude_head and name.startswith(paths))]


def named_apply(
    fn: Callable[..., Any], module: nn.Module, name: str = "", depth_first: bool = True, include_root: bool = False
) -> nn.Module:
    """Call `fn(module=..., name=...)` for each part of a module, children before parents if `depth_first`."""
    parts = list(module.named_modules(prefix=name))
    for path, part in reversed(parts) if depth_first else parts:
        if part is not module or include_root:
            fn(module=part, name=path)
    return module


def _groups(named: Iterable[tuple[str, Any]], matcher: Matcher, return_values: bool, reverse: bool) -> dict[Any, Any]:
    order_of = matcher if callable(matcher) else _order_by(matcher)
    by_order: dict[tuple[float, ...], list[tuple[str, Any]]] = {}
    for name, value in named:
        found = order_of(name)
        order = tuple(found) if isinstance(found, Iterable) else (found,)
        by_order.setdefault(order, []).append((name, value))
    layers: dict[int, list[Any]] = {}
    for order in sorted(by_order):
        new = not layers or order[-1] != WITH_THE_LAST[0]
        members = layers.setdefault(len(layers) if new else len(layers) - 1, [])
        members += [value if return_values else name for name, value in by_order[order]]
    return {name: layer for layer, names in layers.items() for name in names} if reverse else layers


def _order_by(patterns: Mapping[str, Any]) -> Callable[[str], tuple[float, ...]]:
    expressions: list[tuple[re.Pattern[str], int, tuple[int, ...]]] = []
    for number, pattern in enumerate(patterns.values()):
        for expression, behind in pattern if isinstance(pattern, list | tuple) else [(pattern, None)]:
            if expression is not None:
                expressions.append((re.compile(expression), number, tuple(behind or ())))

    def order(name: str) -> tuple[float, ...]:
        for expression, number, behind in expressions:
            if (found := expression.match(name)) is not None:
                return tuple(map(float, (number, *(n for n in found.groups() if n is not None), *behind)))
        return (math.inf,)

    return order
