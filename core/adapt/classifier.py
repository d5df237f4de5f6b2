"""How adapting a checkpoint changes its classifier, decided from tensor names and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from zoo.core.adapt.request import AdaptRequest
from zoo.core.architectures.records import PretrainedCfg, module_paths
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.float_bytes import FLOAT_DTYPES
from zoo.core.files.stored_tensor import StoredTensor


class Head(NamedTuple):
    """What happens to the classifier.

    Args:
        num_classes: number of outputs in the new file.
        selected: names of the tensors that keep some of their rows.
        dropped: names of the tensors that are left out.
        new: names of the newly initialised tensors, each with the shape of its layer's weight.
    """

    num_classes: int
    selected: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    new: Mapping[str, tuple[int, ...]] = {}


def _with_classifier(
    cfg: PretrainedCfg, stored: Mapping[str, StoredTensor], request: AdaptRequest, twin: str
) -> tuple[PretrainedCfg, Mapping[str, tuple[int, ...]]]:
    """The config with the classifier to change, and the input shape of each of the architecture's classifiers.

    A classifier that nobody stated is found by its name.
    """
    from zoo.core.architectures.published import classifier_inputs, classifier_names

    facts = classifier_inputs(cfg.architecture or twin)
    # A config.json may name one of two classifiers. Names not in the architecture come from a file with a prefix.
    if facts and not request.classifier and facts.keys() >= set(module_paths(cfg.classifier)):
        return replace(cfg, classifier=tuple(facts) if len(facts) > 1 else next(iter(facts))), facts
    if cfg.classifier:
        return cfg, facts
    found = [path for path in classifier_names() if _is_classifier(stored.get(f"{path}.weight"))]
    if len(found) != 1:
        raise UsageError(
            f"The tensor names do not show which layer is the classifier; candidates: {', '.join(found) or 'none'}.",
            hint="Name it with --classifier, or name the architecture.",
        )
    return replace(cfg, classifier=found[0]), facts


def _is_classifier(weight: StoredTensor | None) -> bool:
    """Whether the weight is that of a linear layer or of a 1x1 convolution."""
    return weight is not None and len(weight.shape) in (2, 4) and set(weight.shape[2:]) <= {1}


def _num_classes(stored: Mapping[str, StoredTensor], paths: Sequence[str]) -> int:
    for path in paths:
        weight = stored.get(f"{path}.weight")
        if weight is not None and weight.shape:
            return weight.shape[0]
    return 0


def decide_head(
    stored: Mapping[str, StoredTensor], cfg: PretrainedCfg, request: AdaptRequest, source: str, *, twin: str = ""
) -> tuple[PretrainedCfg, Head]:
    """Decide what happens to the classifier; return it with the config, which then names any classifier to change.

    `twin` is an architecture with these tensors, for a `cfg` that names none.

    Raises:
        UsageError: nothing says which tensors form the classifier.
        InvalidInputError: there is no classifier, it has fewer classes than are to be kept, or the shape of a new one
            is unknown.
    """
    facts: Mapping[str, tuple[int, ...]] = {}
    if request.num_classes is not None or request.keep_classes:
        cfg, facts = _with_classifier(cfg, stored, request, twin)
    return cfg, _head(stored, cfg, request, facts, source)


def _head(
    stored: Mapping[str, StoredTensor],
    cfg: PretrainedCfg,
    request: AdaptRequest,
    facts: Mapping[str, tuple[int, ...]],
    source: str,
) -> Head:
    paths = module_paths(cfg.classifier)
    inside = {path: [name for name in stored if name.startswith(f"{path}.")] for path in paths}
    if request.classifier and not any(inside.values()) and not (request.num_classes and facts.keys() >= set(paths)):
        raise InvalidInputError(f"{source} has no tensors of a classifier at {' and '.join(paths)}.", path=source)
    from_classes = _num_classes(stored, paths)
    if request.keep_classes:
        return Head(len(request.keep_classes), _kept_classes(stored, paths, request.keep_classes, from_classes, source))
    if request.num_classes is None:
        return Head(from_classes)
    if not request.num_classes:
        return Head(0, dropped=frozenset(name for names in inside.values() for name in names))
    new: dict[str, tuple[int, ...]] = {}
    dropped: set[str] = set()
    for path in paths:
        weight = stored.get(f"{path}.weight")
        known = facts.get(path)
        if weight is not None and weight.shape == (request.num_classes, *(known or weight.shape[1:])):
            continue
        inputs = known or (weight.shape[1:] if _is_classifier(weight) and weight is not None else ())
        if not inputs:
            raise _unknown_inputs(path, inside[path], cfg.architecture, source)
        has_bias = known is not None or f"{path}.bias" in stored
        names = [f"{path}.weight", f"{path}.bias"][: 2 if has_bias else 1]
        new |= dict.fromkeys(names, (request.num_classes, *inputs))
        dropped.update(name for name in inside[path] if name not in names)
    return Head(request.num_classes, dropped=frozenset(dropped), new=new)


def _unknown_inputs(path: str, inside: Sequence[str], architecture: str, source: str) -> InvalidInputError:
    """The error for a classifier whose number of inputs is unknown."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in inside))
    if layers and layers != [path]:
        return InvalidInputError(
            f"{path} of {source} holds {', '.join(layers[:3])}; which of them is the classifier is not known.",
            hint=f"Name it, for example --classifier {layers[-1]}, or the architecture.",
            path=source,
        )
    return InvalidInputError(
        f"How many features a new classifier {path} of {source} would read is not known.",
        hint=("Leave" if architecture else "Name the architecture that the file was made for, or leave")
        + " the classifier out: --num-classes 0.",
        path=source,
    )


def _kept_classes(
    stored: Mapping[str, StoredTensor], paths: Sequence[str], kept: Sequence[int], num_classes: int, source: str
) -> frozenset[str]:
    """The names of the tensors that keep only the rows of the kept classes."""
    if max(kept) >= num_classes:
        raise InvalidInputError(
            f"Class {max(kept)} cannot be kept: {source} has {num_classes} classes, counted from 0.",
            path=source,
        )
    return frozenset(
        name
        for name, tensor in stored.items()
        if name.startswith(tuple(f"{path}." for path in paths))
        and tensor.dtype in FLOAT_DTYPES
        and tensor.shape[:1] == (num_classes,)
    )
