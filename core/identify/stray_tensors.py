"""Tensors beside those of an architecture: a loss's weight, a counter, a queue. Standard library only.

The digests of the architecture's layers tell which tensors are its own, and its fingerprint that they are just those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from zoo.core.architectures.fingerprint import fingerprint
from zoo.core.architectures.published import find_cfg, fingerprint_of
from zoo.core.architectures.records import module_paths
from zoo.core.identify.similar_architectures import Similar, digest, digests_of, find_similar, layers_of

Shapes = Mapping[str, Sequence[int]]

_MOST_IN_ONE_LAYER = 4
"""Strays that one layer may hold beside its own tensors: bare parameters of the network and of what trained it."""
_MOST_PARTS = 16
_LEAST_COVERAGE = 0.9
_MOST_SHARE = 0.1
"""More strays than this share of an architecture's tensors, and the file is of something larger."""


class WithStrays(NamedTuple):
    """Architectures whose tensors are all there, and the names of those that are not theirs."""

    architectures: tuple[str, ...]
    strays: tuple[str, ...]


def stray_tensors(shapes: Shapes, architecture: str) -> tuple[str, ...] | None:
    """The names of the tensors that are none of an architecture's; None where one of its own is not there.

    Channels and classes may be any. None too for an architecture that zoo does not know.
    """
    expected = fingerprint_of(architecture)
    if not expected:
        return None
    cfg = find_cfg(architecture)
    inputs, heads = module_paths(cfg.first_conv), module_paths(cfg.classifier)
    missing = digests_of(architecture)
    strays: list[str] = []
    others: dict[str, dict[str, Sequence[int]]] = {}
    own_paths = set(heads)
    for path, tensors in layers_of(shapes, without=heads).items():
        found = digest(path, tensors, any_chans=path in inputs)
        if found in missing:
            missing.discard(found)
            own_paths.add(path)
        else:
            others[path] = tensors
    for path, tensors in others.items():
        own = _own_tensors(path, tensors, missing, any_chans=path in inputs)
        if own:
            missing.discard(digest(path, {last: tensors[last] for last in own}, any_chans=path in inputs))
            own_paths.add(path)
        strays += [f"{path}.{last}".lstrip(".") for last in tensors if last not in own]
    if missing:
        return None
    unknown = {*strays, *(name for name in shapes if _is_counter(name) and name.rpartition(".")[0] not in own_paths)}
    rest = {name: shape for name, shape in shapes.items() if name not in unknown}
    if fingerprint(rest, inputs, heads) != expected:
        return None
    return tuple(name for name in shapes if name in unknown)


def _is_counter(name: str) -> bool:
    """Whether it counts the batches of a norm, which the digests pass over."""
    return name.endswith(".num_batches_tracked")


def _own_tensors(path: str, tensors: Shapes, missing: set[str], *, any_chans: bool) -> tuple[str, ...]:
    """Those of a layer's tensors that are a layer which is missing yet; none where no choice of them is."""
    if missing and len(tensors) <= _MOST_PARTS:
        for left_out in range(1, min(_MOST_IN_ONE_LAYER, len(tensors) - 1) + 1):
            for own in combinations(tensors, len(tensors) - left_out):
                if digest(path, {last: tensors[last] for last in own}, any_chans=any_chans) in missing:
                    return own
    return ()


def architectures_with_strays(shapes: Shapes, similar: Sequence[Similar] | None = None) -> WithStrays | None:
    """The architectures that a checkpoint is of but for a few tensors beside them; None where it is of none.

    A stray must not lie in a module of the network, where it may tell a larger network of the same family.

    Args:
        shapes: by name.
        similar: what `find_similar` says of them, where the caller has it.
    """
    for found in find_similar(shapes) if similar is None else similar:
        if found.coverage < _LEAST_COVERAGE:
            continue
        strays = {name: stray_tensors(shapes, name) for name in found.architectures}
        for few in sorted({names for names in strays.values() if names}, key=len):
            modules = {name.partition(".")[0] for name in shapes if name not in few and "." in name}
            if len(few) <= _MOST_SHARE * len(shapes) and not any(name.partition(".")[0] in modules for name in few):
                return WithStrays(tuple(name for name in found.architectures if strays[name] == few), few)
    return None
