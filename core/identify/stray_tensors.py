"""Tensors that do not belong to the architecture: a loss's weight, a counter, a queue. Standard library only.

The digests of the architecture's layers show which tensors are its own. Its fingerprint confirms that they are
complete.
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
"""The most strays in one layer that also holds own tensors: bare parameters of the network and of its training."""
_MOST_PARTS = 16
_LEAST_COVERAGE = 0.9
_MOST_SHARE = 0.1
"""With more strays than this share of an architecture's tensors, the file belongs to something larger."""


class WithStrays(NamedTuple):
    """Architectures whose tensors are all present, and the names of the tensors that are not theirs."""

    architectures: tuple[str, ...]
    strays: tuple[str, ...]


def stray_tensors(shapes: Shapes, architecture: str) -> tuple[str, ...] | None:
    """The names of the tensors that do not belong to an architecture; None if one of its own is missing.

    Channels and classes may be any. Also None for an architecture that zoo does not know.
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
    """Whether this is a norm's batch counter, which the digests ignore."""
    return name.endswith(".num_batches_tracked")


def _own_tensors(path: str, tensors: Shapes, missing: set[str], *, any_chans: bool) -> tuple[str, ...]:
    """The tensors of a layer that together match a missing layer; empty if no selection does."""
    if missing and len(tensors) <= _MOST_PARTS:
        for left_out in range(1, min(_MOST_IN_ONE_LAYER, len(tensors) - 1) + 1):
            for own in combinations(tensors, len(tensors) - left_out):
                if digest(path, {last: tensors[last] for last in own}, any_chans=any_chans) in missing:
                    return own
    return ()


def architectures_with_strays(shapes: Shapes, similar: Sequence[Similar] | None = None) -> WithStrays | None:
    """The architectures that a checkpoint holds together with a few stray tensors; None if there is none.

    A stray must not be in a module of the network, where it may indicate a larger network of the same family.

    Args:
        shapes: by name.
        similar: the result of `find_similar`, if the caller has it.
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
