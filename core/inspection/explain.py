"""Explain why two checkpoints differ: a cast, other channels, a new classifier, a different image size. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.architectures.family_facts import size_facts
from zoo.core.architectures.records import PretrainedCfg, module_paths
from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import METHODS, channel_mixing
from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.files.float_bytes import FLOAT_DTYPES, epsilon, from_float32, to_float32
from zoo.core.files.stored_tensor import StoredTensor

if TYPE_CHECKING:
    from zoo.core.inspection.diff import Checkpoint, Pair

MAX_COMPUTED = 1 << 26
"""The largest input layer, in bytes, that is mixed again to see whether the result is the other side's layer."""
MAX_COEFFICIENTS = 1 << 20
RGB = 3
_ROUNDINGS = 8
"""A different program may sum the filters in a different order, or divide first."""


class Structure(NamedTuple):
    """What is known about the layers: those that read the image, their layout, the classifiers, the family."""

    input_weights: frozenset[str]
    layout: InputLayout
    classifier: tuple[str, ...]
    family: str


def explain(pairs: Sequence[Pair], a: Checkpoint, b: Checkpoint) -> list[Pair]:
    """Add an explanation to each pair that has one.

    Args:
        pairs: what differs.
        a, b: the two sides, by their common names.
    """
    structure = _structure(pairs, a, b)
    return [pair._replace(explanation=_explanation(pair, structure)) for pair in pairs]


def _explanation(pair: Pair, structure: Structure) -> str:
    cast = _told_of_cast(pair)
    if cast:
        return cast
    if pair.name.rpartition(".")[0] in structure.classifier:
        return _told_of_classifier(pair)
    if pair.a is None or pair.b is None:
        return "batch counter, which old files lack" if pair.name.endswith("num_batches_tracked") else ""
    if pair.a.shape == pair.b.shape:
        return ""
    if pair.name in structure.input_weights:
        told = _told_of_channels(pair.a, pair.b, structure.layout)
        if told:
            return told
    return _told_of_size(pair, structure.family)


# ---------------------------------------------------------------- the checkpoints' architecture


def _structure(pairs: Sequence[Pair], a: Checkpoint, b: Checkpoint) -> Structure:
    from zoo.core.architectures.published import family_of, find_cfg
    from zoo.core.channels.stem import find_stem

    architecture, layout = _architecture(a, b)
    try:
        cfg = find_cfg(architecture) if architecture else PretrainedCfg()
    except NotFoundError:
        architecture, cfg = "", PretrainedCfg()
    input_weights: frozenset[str] = frozenset()
    for side in (a, b):
        try:
            stem = find_stem(side.tensors, cfg, side.path, layout=layout)
        except InvalidInputError:
            continue
        input_weights, layout = frozenset(stem.weights), stem.layout
        break
    return Structure(
        input_weights=input_weights,
        layout=layout or InputLayout(),
        classifier=module_paths(cfg.classifier) or _last_linear_layer(pairs),
        family=(family_of(architecture) or "") if architecture else "",
    )


def _architecture(a: Checkpoint, b: Checkpoint) -> tuple[str, InputLayout | None]:
    """The architecture's name, as a file states it or names and shapes reveal it; and its input layout, if stated."""
    from zoo.core.identify.identify import architectures_of, architectures_of_other_size
    from zoo.core.metadata.stated import stated_configuration

    for side in (a, b):
        try:
            stated = stated_configuration(side.metadata, "", side.path)
        except InvalidInputError:  # the statement explains nothing; the tensors are compared all the same
            continue
        if stated.get("architecture"):
            layout = stated.get("input_layout")
            return stated["architecture"], InputLayout.parse(layout) if layout else None
    shapes = [{name: tensor.shape for name, tensor in side.tensors.items()} for side in (a, b)]
    for find in (architectures_of, architectures_of_other_size):
        names = find(shapes[0]) or find(shapes[1])
        if names:
            return names[0], None
    return "", None


def _last_linear_layer(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """The last linear layer whose number of rows differs between the sides: the classifier of an unknown network."""
    from zoo.core.architectures.names import natural_key

    layers = [
        pair.name.removesuffix(".weight")
        for pair in pairs
        if pair.a and pair.b and pair.name.endswith(".weight") and len(pair.a.shape) == 2 and _differs_in_rows(pair)
    ]
    return tuple(sorted(layers, key=natural_key)[-1:])


def _differs_in_rows(pair: Pair) -> bool:
    assert pair.a is not None
    assert pair.b is not None
    return pair.a.shape[:1] != pair.b.shape[:1] and pair.a.shape[1:] == pair.b.shape[1:]


# ---------------------------------------------------------------- one tensor


def _told_of_cast(pair: Pair) -> str:
    if pair.a is None or pair.b is None or pair.difference is None:
        return ""
    if pair.difference.a_rounds_to_b:
        return f"B is A cast to {pair.b.dtype}"
    return f"A is B cast to {pair.a.dtype}" if pair.difference.b_rounds_to_a else ""


def _told_of_classifier(pair: Pair) -> str:
    if pair.a is None or pair.b is None:
        return f"classifier that {'A' if pair.a is None else 'B'} lacks"
    if pair.a.shape == pair.b.shape:
        return "classifier with other values"
    return f"new classifier: {pair.a.shape[0]} -> {pair.b.shape[0]} classes" if _differs_in_rows(pair) else ""


def _told_of_channels(a: StoredTensor, b: StoredTensor, layout: InputLayout) -> str:
    """The method that turns one input layer into the other."""
    ways = [("B is A's", a, b), ("A is B's", b, a)]
    # Both may hold, since folding channels undoes a repetition. Try the side with three channels first: most weights
    # come from there.
    for names, source, target in sorted(ways, key=lambda way: layout.channels(way[1].shape) != RGB):
        from_chans, in_chans = layout.channels(source.shape), layout.channels(target.shape)
        if not from_chans or not in_chans or layout.shape_for(source.shape, in_chans) != target.shape:
            continue
        method, exact = _method(source, target, layout, from_chans, in_chans)
        if method:
            return f"{names} channels {from_chans} -> {in_chans} by {method}{'' if exact else ', to rounding'}"
    return ""


def _method(
    source: StoredTensor, target: StoredTensor, layout: InputLayout, from_chans: int, in_chans: int
) -> tuple[str, bool]:
    """The first method that gives the target bit for bit, otherwise the first that does within rounding, otherwise
    ''."""
    import numpy as np

    too_large = max(source.nbytes, target.nbytes) > MAX_COMPUTED or from_chans * in_chans > MAX_COEFFICIENTS
    if too_large or not {source.dtype, target.dtype} <= {*FLOAT_DTYPES}:
        return "", False
    stored = target.read()
    weight = to_float32(source.read(), source.dtype, source.shape)
    wanted = to_float32(stored, target.dtype, target.shape)
    bound = _ROUNDINGS * (epsilon(source.dtype) + epsilon(target.dtype))
    near = ""
    for method in METHODS:
        try:
            mixing = channel_mixing(method, layout.mixed_channels(from_chans), layout.mixed_channels(in_chans))
        except (UsageError, InvalidInputError):  # the method is for other numbers of channels
            continue
        with np.errstate(all="ignore"):
            mixed = layout.adapt(weight, mixing)
            if from_float32(mixed, target.dtype) == stored:
                return method, True
            is_near = bool((np.abs(mixed - wanted) <= bound * np.abs(wanted).max(initial=0.0)).all())
        near = near or (method if is_near else "")
    return near, False


def _told_of_size(pair: Pair, family: str) -> str:
    """The explanation for a tensor whose shape depends on the image or the patch size."""
    assert pair.a is not None
    assert pair.b is not None
    facts = size_facts(family)
    if pair.name == facts.patch_kernel and pair.a.shape[:2] == pair.b.shape[:2]:
        return "resized: it follows the patch size"
    if any(re.fullmatch(one.names, pair.name) for one in facts.tensors):
        return "resized: it follows the image size"
    return ""
