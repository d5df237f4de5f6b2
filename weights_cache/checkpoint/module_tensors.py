"""The state dict of a module that was saved whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zoo.weights_cache.checkpoint.pickle_machine import Record
from zoo.weights_cache.checkpoint.unsound import UnsoundError

_MAX_NAMES = 1 << 26
"""Characters of all names in a saved module, each with what it takes beside them."""
_NAME_COST = 100


def module_tensors(state: Mapping[str, Any], is_tensor: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
    """The tensors of a pickled torch.nn.Module under the names that its state dict has, in the same order.

    Raises UnsoundError where the names would be endless: a module can contain one module twice, or itself.
    """
    waiting = [("", state)]
    spent = 0
    while waiting:
        prefix, state = waiting.pop()
        parameters, buffers, modules = (_named(state, kind) for kind in ("_parameters", "_buffers", "_modules"))
        passing = state.get("_non_persistent_buffers_set")
        spent += _NAME_COST * len(passing) if isinstance(passing, list) else 0
        spent += sum(len(prefix) + len(name) + _NAME_COST for name in (*parameters, *buffers, *modules))
        if spent > _MAX_NAMES:
            raise UnsoundError("its modules contain each other without end")
        if isinstance(passing, list):
            hidden = {name for name in passing if isinstance(name, str)}
            buffers = {name: value for name, value in buffers.items() if name not in hidden}
        for name, value in (*parameters.items(), *buffers.items()):
            if is_tensor(value):
                yield f"{prefix}{name}", value
        children = [
            (f"{prefix}{name}.", child.state)
            for name, child in modules.items()
            if isinstance(child, Record) and isinstance(child.state, dict)
        ]
        waiting += reversed(children)


def _named(state: Mapping[str, Any], kind: str) -> dict[str, Any]:
    table = state.get(kind)
    return {name: value for name, value in table.items() if isinstance(name, str)} if isinstance(table, dict) else {}
