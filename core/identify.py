"""Which architecture a checkpoint is of, from the names and shapes of its tensors. Standard library only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from math import isqrt
from typing import Any, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.fingerprint import fingerprint
from zoo.core.known_architectures import family_of, find_cfg, input_layer_names, known_with_fingerprint, task_layers
from zoo.core.layouts.engine import TIMM, detect_layout, nearest_to_timm, to_timm
from zoo.core.records import PretrainedCfg, module_paths
from zoo.core.registry import names_with_fingerprint, names_with_size_free_fingerprint
from zoo.core.resize_families import PATCH_KERNELS, RULES
from zoo.core.similar_architectures import MOST_GUESSES, find_similar
from zoo.core.stored_tensor import StoredTensor

Shapes = Mapping[str, Sequence[int]]

MAX_PREFIXES = 20
# The largest architecture has a sixth of it: nothing is like a checkpoint with more, and to look would take long.
_MOST_TENSORS_TO_GUESS = 20_000
_MOST_WRAPPERS = 4
_MOST_PREFIX_TOKENS = 8
_SEPARATOR = re.compile("[./]")


class Identity(NamedTuple):
    """What a checkpoint is, as far as names and shapes tell.

    Args:
        architectures: those whose tensors have these names and shapes; several where only the mathematics differ.
        match: "exact", "other size" (position embeddings or patches of another image or patch size), or "similar": a
            guess, the architecture has layers that the checkpoint lacks, or the other way round.
        layout: the ecosystem whose names these are: "timm", or one of `zoo.core.layouts`.
        prefix: before the names of the network's tensors, e.g. `backbone.`.
        share: of the checkpoint's tensors, those that are the network's.
        coverage: of the architecture's layers without classifiers, those that are here; 1 unless it is a guess.
        in_chans: channels of the input layers; None where the architecture has none to adapt.
        num_classes: rows of the classifier, 0 where there is none.
        image_size, patch_size: height and width in pixels, where the shapes tell; else None.
        adapted: whether it reads other channels than the published weights.
    """

    architectures: tuple[str, ...]
    match: str
    layout: str
    prefix: str
    share: float
    coverage: float
    in_chans: int | None
    num_classes: int
    image_size: tuple[int, int] | None
    patch_size: tuple[int, int] | None
    adapted: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        return self._asdict()


def architectures_of(shapes: Shapes) -> list[str]:
    """The architectures whose tensors have exactly these names and shapes, whatever the channels and classes.

    Several where architectures differ in their mathematics only; none for tensors of a foreign layout.
    """
    found: dict[int, list[str]] = {}
    for input_layers, classifier in _possible_layers(shapes):
        digest = fingerprint(shapes, input_layers, classifier)
        names = [*names_with_fingerprint(digest), *known_with_fingerprint(digest)]
        found.setdefault(_num_inside(shapes, classifier), []).extend(names)
    # A head with layers of its own is left out where it counts as a classifier: what explains more of it fits better.
    best = next((names for _, names in sorted(found.items()) if names), [])
    return list(dict.fromkeys(best))


def _num_inside(shapes: Shapes, classifier: Sequence[str]) -> int:
    """Tensors of layers within the classifiers."""
    inside = (name.removeprefix(f"{path}.") for path in classifier for name in shapes if name.startswith(f"{path}."))
    return sum("." in rest for rest in inside)


def architectures_of_other_size(shapes: Shapes) -> list[str]:
    """The architectures that zoo builds which these are tensors of, but for the image and patch size."""
    found: list[str] = []
    for input_layers, classifier in _possible_layers(shapes):
        for family in sorted({*RULES, *PATCH_KERNELS}):
            free = size_free(family, shapes)
            if free != shapes:
                found += names_with_size_free_fingerprint(family, fingerprint(free, input_layers, classifier))
    return list(dict.fromkeys(found))


def size_free(family: str, shapes: Shapes) -> dict[str, Sequence[int]]:
    """The shapes without those that depend on the image or patch size in this family."""
    patterns = [re.compile(pattern) for pattern, _ in RULES.get(family, ())]
    free: dict[str, Sequence[int]] = {}
    for name, shape in shapes.items():
        if any(pattern.fullmatch(name) for pattern in patterns):
            free[name] = ()
        elif name == PATCH_KERNELS.get(family):
            free[name] = shape[:-2] if len(shape) == 4 else shape[:1]
        else:
            free[name] = shape
    return free


def _possible_layers(shapes: Shapes) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (input layers, classifier) of architectures whose input layers are all among the tensors."""
    for input_layers, classifier in sorted(task_layers()):
        if input_layers and all(f"{layer}.weight" in shapes for layer in input_layers):
            yield input_layers, classifier


def identify(tensors: Mapping[str, StoredTensor], *, guess: bool = True) -> list[Identity]:
    """What a checkpoint may be, the best first; guesses where it is exactly none; empty where nothing is near.

    Args:
        tensors: by name, as stored; nothing of them is read but names and shapes.
        guess: whether guesses are wanted; to look for them takes longer.

    Raises InvalidInputError for tensors with another ecosystem's names whose shapes are not what the names say.
    """
    prefixes = sorted({"", *_before_input_layers(tensors), *_wrappers(tensors)}, key=lambda one: (len(one), one))
    parts = cache(partial(_part, tensors))
    for match, architectures in (("exact", architectures_of), ("other size", architectures_of_other_size)):
        found: list[Identity] = []
        for prefix in prefixes:
            if any(prefix.startswith(network.prefix) for network in found):
                continue  # a layer of a network that was recognised
            part = parts(prefix)
            names = architectures(part.shapes)
            if names:
                found.append(_described(tuple(names), match, part))
        if found:
            return sorted(found, key=lambda one: (-one.share, one.prefix))
    return _guesses(map(parts, prefixes)) if guess and len(tensors) <= _MOST_TENSORS_TO_GUESS else []


def _guesses(parts: Iterable[_Part]) -> list[Identity]:
    found = [(similar, part) for part in map(_nearest_layout, parts) for similar in find_similar(part.shapes)]
    found.sort(key=lambda one: (-one[0].overlap, -one[0].coverage, len(one[1].prefix)))
    return [
        _described(similar.architectures, "similar", part)._replace(coverage=similar.coverage)
        for similar, part in found[:MOST_GUESSES]
    ]


class _Part(NamedTuple):
    """The tensors behind a prefix, in timm's layout, which they may have been converted to."""

    prefix: str
    layout: str
    share: float
    tensors: Mapping[str, StoredTensor]

    @property
    def shapes(self) -> Shapes:
        """Name -> shape."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def _part(tensors: Mapping[str, StoredTensor], prefix: str) -> _Part:
    inside = {
        name.removeprefix(prefix): tensor._replace(name=name.removeprefix(prefix))
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    share = len(inside) / len(tensors) if tensors else 0.0
    layout = detect_layout({name: tensor.shape for name, tensor in inside.items()})
    if layout is None:
        return _Part(prefix, TIMM, share, inside)
    try:
        renamed = to_timm(layout, inside.values(), read=False)
    except InvalidInputError:
        if not prefix:
            raise
        return _Part(prefix, TIMM, share, inside)  # the few names of a part may be those of a layout by chance
    return _Part(prefix, layout, share, {tensor.name: tensor for tensor in renamed})


def _nearest_layout(part: _Part) -> _Part:
    if part.layout != TIMM:
        return part
    layout, tensors = nearest_to_timm(part.tensors)
    return part._replace(layout=layout, tensors=tensors)


def _wrappers(names: Iterable[str]) -> list[str]:
    """The outer modules that hold the most tensors: one may be around a network whose names are not timm's."""
    held = Counter(name[: end.end()] for name in names for end in islice(_SEPARATOR.finditer(name), _MOST_WRAPPERS))
    return [prefix for prefix, _ in held.most_common(MAX_PREFIXES)]


def _before_input_layers(names: Iterable[str]) -> list[str]:
    """Whatever precedes the name of some architecture's input layer."""
    endings = {f"{layer}.weight" for layer in input_layer_names()}
    firsts = {ending.partition(".")[0] for ending in endings}
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for start, part in enumerate(parts):
            if part in firsts and ".".join(parts[start:]) in endings:
                found["".join(f"{part}." for part in parts[:start])] = None
    return sorted(found, key=len)[:MAX_PREFIXES]


def _described(names: tuple[str, ...], match: str, part: _Part) -> Identity:
    from zoo.core.stem import find_stem

    cfg = find_cfg(names[0])
    has_stem = all(f"{layer}.weight" in part.tensors for layer in module_paths(cfg.first_conv))
    try:
        # The hint of an error would come back here for what the tensors are.
        in_chans = find_stem(part.tensors, cfg, "the checkpoint", alone=True).from_chans if has_stem else None
    except InvalidInputError:  # it reads its image with fixed filters
        in_chans = None
    image, patch = sizes_of(cfg, match, part.tensors)
    return Identity(
        architectures=names,
        match=match,
        layout=part.layout,
        prefix=part.prefix,
        share=part.share,
        coverage=1.0,
        in_chans=in_chans,
        num_classes=num_classes_of(cfg, part.tensors),
        image_size=image,
        patch_size=patch,
        adapted=in_chans not in (None, cfg.input_size[0]),
    )


def num_classes_of(cfg: PretrainedCfg, tensors: Mapping[str, StoredTensor]) -> int:
    """Rows of the classifier that `cfg` names; 0 where it is not among the tensors."""
    for path in module_paths(cfg.classifier):
        weight = tensors.get(f"{path}.weight")
        if weight is not None and weight.shape:
            return weight.shape[0]
    return 0


def sizes_of(
    cfg: PretrainedCfg, match: str, tensors: Mapping[str, StoredTensor]
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Image and patch size, where the shapes of the tensors depend on them."""
    family = family_of(cfg.architecture) or ""
    kernel = tensors.get(PATCH_KERNELS.get(family, ""))
    patch = (kernel.shape[2], kernel.shape[3]) if kernel is not None and len(kernel.shape) == 4 else None
    depends = any(re.fullmatch(pattern, name) for pattern, _ in RULES.get(family, ()) for name in tensors)
    if not depends:
        return None, patch
    if match == "exact":
        return (cfg.input_size[1], cfg.input_size[2]), patch
    positions = tensors.get("pos_embed")
    if positions is None or len(positions.shape) != 3 or patch is None or patch[0] != patch[1]:
        return None, patch
    for others in range(_MOST_PREFIX_TOKENS + 1):
        cells = positions.shape[1] - others
        if cells > 0 and isqrt(cells) ** 2 == cells:
            return (isqrt(cells) * patch[0],) * 2, patch
    return None, patch
