"""Where in a checkpoint the state dict is, and the names of its tensors without what wrappers put before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from zoo.weights_cache.checkpoint.pickle_machine import Record
from zoo.weights_cache.checkpoint.unsound import UnsoundError

_EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema")
_WRAPPERS = ("state_dict", "model", "encoder")
_MAX_NESTING = 4
"""A pickle can hold a dictionary that contains itself."""
_MAX_WRAPPERS = 100
_MAX_NAMES = 1 << 26
"""Characters of all names in a saved module, each with what it takes beside them."""
_NAME_COST = 100
_PREFIXES = ("module.", "_orig_mod.")
"""Put before every key by DistributedDataParallel and by torch.compile."""


class StateDict(NamedTuple):
    """Tensors by name, and how they were found.

    `wrapper` is the path of keys to them, `prefix` what was taken off (most of) the names, `skipped` what else is in
    the checkpoint: its path and what it is.
    """

    tensors: dict[str, Any]
    wrapper: str
    prefix: str
    skipped: tuple[tuple[str, str], ...]
    twice: str = ""
    """A name that two tensors would have, one with and one without a prefix."""


def find_state_dict(checkpoint: Any, is_tensor: Callable[[Any], bool], *, use_ema: bool) -> StateDict:
    """The state dict of a checkpoint, which may lie in others and may be a saved module.

    Args:
        checkpoint: plain data, or a mapping that is in memory.
        is_tensor: what counts as a tensor.
        use_ema: prefer the averaged weights where there are both.
    """
    wrappers = (*_EMA_WRAPPERS, *_WRAPPERS) if use_ema else _WRAPPERS
    path: list[str] = []
    skipped: list[tuple[str, str]] = []
    found = _contents(checkpoint, is_tensor) or {}
    while inner := next((key for key in wrappers if _is_wrapped(found.get(key), wrappers, is_tensor, set())), None):
        if len(path) == _MAX_NESTING:
            return StateDict({}, ".".join(path), "", tuple(skipped))
        skipped += _described(path, {key: value for key, value in found.items() if key != inner}, is_tensor)
        path.append(inner)
        found = _contents(found[inner], is_tensor) or {}
    tensors: dict[str, Any] = {}
    prefixes: dict[str, int] = {}
    others: dict[Any, Any] = {}
    twice = ""
    for key, value in found.items():
        if not isinstance(key, str) or not is_tensor(value):
            others[key] = value
            continue
        name = strip_prefixes(key)
        prefix = key[: len(key) - len(name)]
        prefixes[prefix] = prefixes.get(prefix, 0) + 1
        twice = twice or (name if name in tensors else "")
        tensors[name] = value
    skipped += _described(path, others, is_tensor)
    prefix = max(prefixes, key=lambda p: prefixes[p], default="")
    return StateDict(tensors, ".".join(path), prefix, tuple(skipped), twice)


def strip_prefixes(key: str) -> str:
    """A key without the prefixes of wrappers."""
    while key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return key


def _contents(value: Any, is_tensor: Callable[[Any], bool]) -> Mapping[Any, Any] | None:
    """What there is by name in a dictionary, a saved module, or the attributes of another object."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, Record):
        return None
    state = value.state if isinstance(value.state, dict) else {}
    if isinstance(state.get("_modules"), dict):
        return dict(_module_tensors(state, is_tensor))
    return {**state, **(value.items or {})}


def _is_wrapped(value: Any, wrappers: tuple[str, ...], is_tensor: Callable[[Any], bool], seen: set[int]) -> bool:
    """Whether a value holds tensors itself, or under the key of a wrapper; `seen` are those that do not."""
    contents = None if id(value) in seen or len(seen) > _MAX_WRAPPERS else _contents(value, is_tensor)
    seen.add(id(value))
    if contents is None:
        return False
    return any(isinstance(key, str) and is_tensor(inner) for key, inner in contents.items()) or any(
        _is_wrapped(contents.get(key), wrappers, is_tensor, seen) for key in wrappers
    )


def _module_tensors(state: Mapping[str, Any], is_tensor: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
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


def _described(path: list[str], values: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> list[tuple[str, str]]:
    return [
        (".".join((*path, str(key)[:80])), "tensor" if is_tensor(value) else _description(value))
        for key, value in values.items()
    ]


def _description(value: Any) -> str:
    if isinstance(value, Record):
        return value.kind
    if isinstance(value, Mapping | list | tuple):
        kind = "dict" if isinstance(value, Mapping) else type(value).__name__
        return f"{kind} of {len(value)}"
    return "None" if value is None else type(value).__name__
