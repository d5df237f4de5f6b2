"""The state dict of a module that was saved as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zoo.core.files.checkpoint.pickle_machine import OpaqueCall, Record
from zoo.core.files.checkpoint.unsound import UnsoundError

_MAX_NAMES = 1 << 26
"""The most characters of all names in a saved module, plus a cost for each name."""
_NAME_COST = 100


class ModuleReader:
    """Reads the modules of one checkpoint, each once, with one limit for all."""

    def __init__(self, is_tensor: Callable[[Any], bool]) -> None:
        self._is_tensor, self._spent = is_tensor, 0
        self._read: dict[int, dict[str, Any]] = {}
        self.opaque: dict[int, str] = {}
        """Id of a module's attributes -> the function that a part of the module would need called."""

    def tensors(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors of a pickled torch.nn.Module, with the names and order of its state dict.

        Args:
            state: the module's attributes.

        Raises UnsoundError if the names would be endless: a module can contain another twice, or itself.
        """
        if id(state) not in self._read:
            self._read[id(state)] = dict(self._named_tensors(state, id(state)))
        return self._read[id(state)]

    def _named_tensors(self, state: Mapping[str, Any], module: int) -> Iterator[tuple[str, Any]]:
        waiting = [("", state)]
        while waiting:
            prefix, state = waiting.pop()
            parameters, buffers, modules = (_named(state, kind) for kind in ("_parameters", "_buffers", "_modules"))
            passing = state.get("_non_persistent_buffers_set")
            self._spent += _NAME_COST * len(passing) if isinstance(passing, list) else 0
            self._spent += sum(len(prefix) + len(name) + _NAME_COST for name in (*parameters, *buffers, *modules))
            if self._spent > _MAX_NAMES:
                raise UnsoundError("its modules contain each other without end")
            if isinstance(passing, list):
                hidden = {name for name in passing if isinstance(name, str)}
                buffers = {name: value for name, value in buffers.items() if name not in hidden}
            for name, value in (*parameters.items(), *buffers.items()):
                if self._is_tensor(value):
                    yield f"{prefix}{name}", value
                elif isinstance(value, OpaqueCall):
                    self.opaque[module] = value.kind
            for child in modules.values():
                if isinstance(child, OpaqueCall):
                    self.opaque[module] = child.kind
            children = [
                (f"{prefix}{name}.", child.state)
                for name, child in modules.items()
                if isinstance(child, Record) and isinstance(child.state, dict)
            ]
            waiting += reversed(children)


def _named(state: Mapping[str, Any], kind: str) -> dict[str, Any]:
    table = state.get(kind)
    return {name: value for name, value in table.items() if isinstance(name, str)} if isinstance(table, dict) else {}
