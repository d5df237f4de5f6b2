"""Find the state dict in a checkpoint by its content, not by its name.

A mapping of names to tensors is a candidate wherever it is. The state of optimizers is not, and a mapping that is small
compared with the largest candidate is bookkeeping. Among several candidates, the keys that training programs agree on
decide; if they do not, the caller must name one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from zoo.core.files.checkpoint.module_tensors import ModuleReader
from zoo.core.files.checkpoint.pickle_machine import LongString, OpaqueCall, Record
from zoo.core.files.checkpoint.unsound import NothingFoundError, UnsoundError, refused

_EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema")
_WRAPPERS = ("state_dict", "model", "encoder")
_MAX_NESTING = 4
"""The most nested wrappers: a pickle can hold a dictionary that contains itself."""
_MAX_WRAPPERS = 100
_MAX_DEPTH = 16
BOOKKEEPING_SHARE = 0.01
"""A candidate with a smaller share of the largest candidate's values is not a state dict."""
_OPTIMIZER_STATE = frozenset((
    "step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg",
    "acc_delta", "sum", "prev", "step_size", "ax", "eta", "mu",
))  # fmt: skip
_MAX_LISTED = 8
_MAX_TRIES = 100


class Measure(NamedTuple):
    """The size of a tensor in values and bytes, whether it is floating-point or complex, and whether it is a scalar."""

    values: int
    nbytes: int
    is_floating: bool
    is_scalar: bool


class TensorKind(NamedTuple):
    """Functions that recognise and measure tensors, and that open foreign objects by name.

    `modules` reads saved modules; each search has its own.
    """

    is_tensor: Callable[[Any], bool]
    measure: Callable[[Any], Measure]
    open_object: Callable[[Any], Mapping[str, Any] | None] = lambda _: None
    modules: ModuleReader = ModuleReader(lambda _: False)


class StateDict(NamedTuple):
    """Tensors by their names in the checkpoint.

    `wrapper` is the path of keys to them. `skipped` has the path and kind of everything else in the checkpoint.
    """

    tensors: dict[str, Any]
    wrapper: str
    skipped: tuple[tuple[str, str], ...]


class Candidate(NamedTuple):
    """A mapping that holds tensors: the keys that lead to it, and the tensors' total size."""

    path: tuple[Any, ...]
    tensors: Mapping[str, Any]
    values: int
    nbytes: int
    is_floating: bool
    is_scalar: bool
    refused: str = ""
    """The function that would have to be called to reach the tensors."""

    def described(self) -> str:
        where = _text(self.path) or "the top level"
        size = f"{self.nbytes / 1e6:.1f} MB" if self.nbytes >= 50_000 else f"{self.nbytes} bytes"
        return f"{where} ({_count(len(self.tensors))}, {size})"


def find_state_dict(checkpoint: Any, kind: TensorKind, *, use_ema: bool, key: str = "") -> StateDict:
    """Find the state dict of a checkpoint: within mappings, lists and objects, or in a saved module.

    Args:
        checkpoint: plain data with records of tensors, or objects in memory.
        kind: what counts as a tensor.
        use_ema: prefer the averaged weights if there are both.
        key: the keys that lead to it, joined by dots; numbers index lists. "" finds it.

    Raises UnsoundError: none, or several without a `key`, or nothing at `key`; the message lists what there is.
    """
    kind = kind._replace(modules=ModuleReader(kind.is_tensor))
    start, root = _at(checkpoint, kind, key) if key else ((), checkpoint)
    candidates = _candidates(root, kind, start)
    chosen = _chosen(candidates, root, kind, start, use_ema=use_ema, named=bool(key))
    skipped = list(_passed(checkpoint, chosen.path, kind, {c.path: c for c in candidates}))
    return StateDict(dict(chosen.tensors), _text(chosen.path), tuple(skipped))


# ---------------------------------------------------------------- the choice


def _chosen(
    candidates: list[Candidate], root: Any, kind: TensorKind, start: tuple[Any, ...], *, use_ema: bool, named: bool
) -> Candidate:
    if not candidates:
        raise _nothing(root, kind, start)
    if named and candidates[0].path == start:
        return _allowed(candidates[0])
    known = _by_known_keys(root, kind, use_ema=use_ema)
    by_keys = next((c for c in candidates if known is not None and c.path == start + known), None)
    large = _without_bookkeeping(candidates)
    if by_keys is not None and by_keys in large.values():
        return _allowed(by_keys)
    weights = [c for c in large.values() if not any(_is_beside(large.get(c.path[:n]), c) for n in range(len(c.path)))]
    if len(weights) == 2 and (pair := _average_of(weights[0], weights[1])):
        return _allowed(pair[0] if use_ema else pair[1])
    if len(weights) > 1:
        listed = ", ".join(c.described() for c in weights[:_MAX_LISTED])
        more = f" and {len(weights) - _MAX_LISTED} more" if len(weights) > _MAX_LISTED else ""
        first = next(_text(c.path) for c in weights if c.path)
        raise UnsoundError(
            f"holds {len(weights)} state dicts: {listed}{more}",
            f"Name one, as in --key {_quoted(first)} (`key` in the library).",
            whole=True,
        )
    return _allowed(weights[0])


def _allowed(candidate: Candidate) -> Candidate:
    if candidate.refused:
        raise refused(candidate.refused)
    return candidate


def _without_bookkeeping(candidates: list[Candidate]) -> dict[tuple[Any, ...], Candidate]:
    """The candidates that can be weights: floating-point, and not much smaller than the largest."""
    found = [c for c in candidates if c.is_floating and not c.is_scalar] or candidates
    largest = max(c.values for c in found)
    return {c.path: c for c in found if c.values >= BOOKKEEPING_SHARE * largest}


def _is_beside(outer: Candidate | None, inner: Candidate) -> bool:
    """Whether an inner mapping is an addition to the tensors of the outer one, and not the reverse."""
    return outer is not None and outer.values >= inner.values


def _average_of(a: Candidate, b: Candidate) -> tuple[Candidate, Candidate] | None:
    """The pair with the averaged weights first: their keys differ by the word ema, and they hold the same names."""
    if not (a.path and b.path) or a.path[:-1] != b.path[:-1] or a.tensors.keys() != b.tensors.keys():
        return None
    words = [str(c.path[-1]).lower().split("_") for c in (a, b)]
    for average, other, pair in ((words[0], words[1], (a, b)), (words[1], words[0], (b, a))):
        if "ema" in average and [word for word in average if word != "ema"] == other:
            return pair
    return None


def _by_known_keys(checkpoint: Any, kind: TensorKind, *, use_ema: bool) -> tuple[str, ...] | None:
    """The path of the keys that training programs agree on; None if it does not lead to tensors."""
    wrappers = (*_EMA_WRAPPERS, *_WRAPPERS) if use_ema else _WRAPPERS
    path: list[str] = []
    found = _contents(checkpoint, kind) or {}
    while inner := next((key for key in wrappers if _is_wrapped(found.get(key), wrappers, kind, set())), None):
        if len(path) == _MAX_NESTING:
            return None
        path.append(inner)
        found = _contents(found[inner], kind) or {}
    return tuple(path) if path else None


def _is_wrapped(value: Any, wrappers: tuple[str, ...], kind: TensorKind, seen: set[int]) -> bool:
    """Whether a value holds tensors, directly or under a wrapper's key; `seen` are values that do not."""
    contents = None if id(value) in seen or len(seen) > _MAX_WRAPPERS else _contents(value, kind)
    seen.add(id(value))
    if contents is None:
        return False
    return any(isinstance(key, str) and kind.is_tensor(inner) for key, inner in contents.items()) or any(
        _is_wrapped(contents.get(key), wrappers, kind, seen) for key in wrappers
    )


# ---------------------------------------------------------------- candidates


def _candidates(root: Any, kind: TensorKind, start: tuple[Any, ...]) -> list[Candidate]:
    """The mappings that hold tensors, the outermost first, without the state of optimizers."""
    found: list[Candidate] = []
    waiting = deque([(start, root)])
    seen, seen_in_calls, seen_in_values = {id(root)}, set[int](), set[int]()
    while waiting:
        path, value = waiting.popleft()
        if isinstance(value, OpaqueCall):
            if tensors := _reachable(value, kind, seen_in_calls):
                found.append(_measured(path, tensors, kind)._replace(refused=value.kind))
            continue
        contents = _contents(value, kind)
        named = {} if contents is None else _tensors(contents, kind)
        if named and not (_OPTIMIZER_STATE.issuperset(named) and path != start):
            candidate = _measured(path, named, kind)
            needed = kind.modules.opaque.get(id(value.state), "") if _is_module(value) else ""
            for part in contents.values() if contents is not None else ():
                if isinstance(part, OpaqueCall) and _reachable(part, kind, seen_in_values):
                    needed = part.kind  # the call stands for one of the tensors
            found.append(candidate._replace(refused=needed))
        is_optimizer = contents is not None and "param_groups" in contents
        if is_optimizer or _is_module(value) or len(path) - len(start) >= _MAX_DEPTH:
            continue  # a module's children are in its state dict
        for key, child in _children(value, kind):
            if id(child) not in seen and _is_container(child, kind):
                seen.add(id(child))
                waiting.append(((*path, key), child))
    return found


def _tensors(contents: Mapping[Any, Any], kind: TensorKind) -> dict[str, Any]:
    return {key: value for key, value in contents.items() if isinstance(key, str) and kind.is_tensor(value)}


def _measured(path: tuple[Any, ...], tensors: Mapping[str, Any], kind: TensorKind) -> Candidate:
    sizes = [kind.measure(value) for value in tensors.values()]
    return Candidate(
        path,
        tensors,
        sum(size.values for size in sizes),
        sum(size.nbytes for size in sizes),
        any(size.is_floating for size in sizes),
        all(size.is_scalar for size in sizes),
    )


def _reachable(call: OpaqueCall, kind: TensorKind, seen: set[int]) -> dict[str, Any]:
    """The tensors in the arguments of a call that is not made, or in the contents of its result.

    `seen` are the arguments of other calls: a tensor in several calls is found in the first.
    """
    tensors: dict[str, Any] = {}
    waiting: list[tuple[int, Any]] = [(0, call)]
    while waiting:
        depth, value = waiting.pop()
        parts = [child for _, child in _children(value, kind)]
        if isinstance(value, Record):
            parts += value.arguments
        for part in parts:
            if kind.is_tensor(part):
                tensors[str(len(tensors))] = part
            elif depth < _MAX_DEPTH and id(part) not in seen and _is_container(part, kind):
                seen.add(id(part))
                waiting.append((depth + 1, part))
    return tensors


def _contents(value: Any, kind: TensorKind) -> Mapping[Any, Any] | None:
    """The named content of a dictionary, a saved module, or the attributes of another object."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, Record):
        return kind.open_object(value)
    state = value.state if isinstance(value.state, dict) else {}
    if _is_module(value):
        return kind.modules.tensors(state)
    return {**state, **(value.items or {})}


def _is_module(value: Any) -> bool:
    return isinstance(value, Record) and isinstance(value.state, dict) and isinstance(value.state.get("_modules"), dict)


def _is_container(value: Any, kind: TensorKind) -> bool:
    return isinstance(value, Mapping | list | tuple | Record) or kind.open_object(value) is not None


def _children(value: Any, kind: TensorKind) -> Iterable[tuple[Any, Any]]:
    """The content of a value by key, or by number in a list."""
    if isinstance(value, list | tuple):
        return enumerate(value)
    named = _contents(value, kind) or {}
    if isinstance(value, Record) and not isinstance(value, OpaqueCall) and not _is_module(value):
        rows = value.elements or (() if named else value.arguments)
        return [*named.items(), *enumerate(rows)]
    return named.items()


# ---------------------------------------------------------------- named paths


def _at(checkpoint: Any, kind: TensorKind, key: str) -> tuple[tuple[Any, ...], Any]:
    """The keys of a dotted path, each of which may contain dots itself, and the value there."""
    waiting: list[tuple[tuple[Any, ...], Any, str]] = [((), checkpoint, key)]
    for _ in range(_MAX_TRIES):
        if not waiting:
            break
        path, value, rest = waiting.pop()
        if not rest:
            if not _is_container(value, kind):
                what = "a tensor" if kind.is_tensor(value) else _description(value)
                raise UnsoundError(
                    f"has {what} at {key[:80]!r}, where a state dict should be", _listing(checkpoint, kind), whole=True
                )
            return path, value
        if not _is_container(value, kind):
            continue
        steps = []
        for name, child in _children(value, kind):
            text = str(name) if isinstance(name, str | int) else ""
            if text and rest.startswith(text) and rest[len(text) : len(text) + 1] in ("", "."):
                steps.append(((*path, name), child, rest[len(text) + 1 :]))
        waiting += sorted(steps, key=lambda step: -len(step[2]))  # the longest key first
    raise UnsoundError(f"holds nothing at {key[:80]!r}", _listing(checkpoint, kind), whole=True)


def _listing(checkpoint: Any, kind: TensorKind) -> str:
    found = [c for c in _candidates(checkpoint, kind, ()) if not c.refused]
    if not found:
        return "There are no tensors in it."
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return f"Tensors are at {', '.join(c.described() for c in found[:_MAX_LISTED])}{more}."


# ---------------------------------------------------------------- texts


def _nothing(root: Any, kind: TensorKind, start: tuple[Any, ...]) -> UnsoundError:
    where = f" at {_text(start)!r}" if start else ""
    if isinstance(root, OpaqueCall):
        return refused(root.kind)
    children = list(_children(root, kind)) if _is_container(root, kind) else []
    listed = [f"{str(key)[:40]} ({_description(value)})" for key, value in children[:_MAX_LISTED]]
    more = f" and {len(children) - _MAX_LISTED} more" if len(children) > _MAX_LISTED else ""
    holds = f"; it holds {', '.join(listed)}{more}" if listed else ""
    return NothingFoundError(f"should hold a state dict{where}, found no tensor in it{holds}", "", whole=True)


def _passed(
    checkpoint: Any, path: tuple[Any, ...], kind: TensorKind, candidates: Mapping[tuple[Any, ...], Candidate]
) -> Iterator[tuple[str, str]]:
    """Everything outside the path to the state dict and outside its tensors."""
    value = checkpoint
    for depth, step in enumerate((*path, None)):
        last = depth == len(path)
        following = None
        for key, child in _children(value, kind):
            if not last and key == step and type(key) is type(step):
                following = child
            elif not (last and isinstance(key, str) and kind.is_tensor(child)):
                place = (*path[:depth], key)
                yield _text(place), _described(child, kind, candidates.get(place))
        value = following


def _described(value: Any, kind: TensorKind, candidate: Candidate | None) -> str:
    if kind.is_tensor(value):
        return "tensor"
    if candidate is None or isinstance(value, Record):
        return _description(value)
    return f"{_description(value)} with {_count(len(candidate.tensors))} of {candidate.values} values"


def _description(value: Any) -> str:
    if isinstance(value, OpaqueCall):
        return f"a call of {value.kind}, which was not made"
    if isinstance(value, Record):
        return value.kind
    if isinstance(value, LongString):
        return "str" if value.is_text else "bytes"
    if isinstance(value, Mapping | list | tuple):
        kind = "dict" if isinstance(value, Mapping) else type(value).__name__
        return f"{kind} of {len(value)}"
    if name := getattr(value, "mentioned", ""):
        return f"the name {name}"
    return "None" if value is None else type(value).__name__


def _text(path: tuple[Any, ...]) -> str:
    return ".".join(str(key)[:80] for key in path)


def _quoted(text: str) -> str:
    return text if text.replace(".", "").replace("_", "").replace("-", "").isalnum() else f"'{text}'"


def _count(number: int) -> str:
    return f"{number} tensor{'' if number == 1 else 's'}"
