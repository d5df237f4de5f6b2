"""Functions that `torch.fx.symbolic_trace` records whole.

A trace runs the forward pass with stand-ins for tensors, whose sizes are not known. What decides by them cannot be
traced through, so it becomes one node of the graph, which decides when the graph runs. `torch.fx.wrap` would do so
only for calls from the module that holds the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from torch import Tensor
from torch.fx import Proxy, has_side_effect

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_SEQUENCES = (tuple, list)  # of several ways to ask for both the fastest


def leaf_function(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same function, of which a trace records the call instead of what it does.

    It must be found in its module under its own name, and its arguments must be what a graph can hold: tensors,
    numbers, texts, None, and tuples or lists of these.
    """

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        stand_in = _stand_in(args)
        if stand_in is None and kwargs:
            stand_in = _stand_in(kwargs.values())
        if stand_in is None:
            return function(*args, **kwargs)
        return cast(Result, stand_in.tracer.create_proxy("call_function", call, args, dict(kwargs)))

    return call


def leaf_procedure(function: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """A leaf function that gives nothing: a check, which stays in a graph though nothing reads what it gives."""
    return has_side_effect(leaf_function(function))


def listed(tensors: Sequence[Tensor], count: int) -> list[Tensor]:
    """So many tensors of what `chunk`, `split` or `unbind` gave, which cannot be iterated over in a trace."""
    return [tensors[index] for index in range(count)]


def same(x: Tensor) -> Tensor:
    """What stands for a layer that is left out: an Identity made in passing is no module that a trace knows."""
    return x


def _stand_in(values: Iterable[Any]) -> Proxy | None:
    """The first stand-in for a tensor or a size, also in tuples and lists; None outside a trace."""
    for value in values:
        if isinstance(value, Proxy):
            return value
        if isinstance(value, _SEQUENCES) and (found := _stand_in(value)) is not None:
            return found
    return None
