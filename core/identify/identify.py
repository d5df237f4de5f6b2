"""Identify a checkpoint's architecture by the names and shapes of its tensors. Standard library only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.architectures.family_facts import SizeFacts, families_of_sizes, size_facts
from zoo.core.architectures.fingerprint import fingerprint
from zoo.core.architectures.model_facts import TaskLayers, module_paths
from zoo.core.architectures.published import family_of, input_layer_names, task_layers, task_layers_of
from zoo.core.architectures.registry import (
    fused_layers,
    names_with_fingerprint,
    names_with_fused_fingerprint,
    names_with_size_free_fingerprint,
)
from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import StoredTensor

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg
    from zoo.core.identify.similar_architectures import Similar

Shapes = Mapping[str, Sequence[int]]

MAX_PREFIXES = 20
# The largest architecture has a sixth of it: a checkpoint with more resembles none, and searching would take long.
_MOST_TENSORS_TO_GUESS = 20_000
_MOST_WRAPPERS = 4
_SEPARATOR = re.compile("[./]")
_TIMM = "timm"
_FOREIGN = "unknown"


class Identity(NamedTuple):
    """What a checkpoint is, as far as names and shapes tell.

    Args:
        architectures: the architectures with these names and shapes; several if only the mathematics differs.
        match: "exact", "other size" (position embeddings or patches for a different image or patch size), or "similar":
            a guess, where the architecture has layers that the checkpoint lacks, or the reverse.
        layout: the ecosystem that uses these names: "timm", one of `zoo.core.layouts`, or "unknown" if the names tell
            nothing and the guess is by shapes alone: `coverage` then counts weights.
        prefix: prefix of the network's tensor names, e.g. `backbone.`.
        share: share of the checkpoint's tensors that belong to the network.
        coverage: share of the architecture's layers, without classifiers, that are present; 1 unless it is a guess.
        in_chans: channels of the input layers; None if the architecture has none to adapt.
        num_classes: rows of the classifier, 0 if there is none.
        image_size, patch_size: height and width in pixels, if the file states or the shapes reveal them; otherwise
            None.
        positions: number of positions, prefix tokens included, in a table that is not square and whose grid nothing
            states; otherwise None.
        adapted: whether the checkpoint reads a different number of channels than the published weights.
        strays: names of tensors that do not belong to the network but share its prefix; the network itself is complete.
        reparameterized: whether branches and norms are joined, as `zoo.reparameterize` does.
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
    strays: tuple[str, ...] = ()
    positions: int | None = None
    reparameterized: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The identity as plain values, for `--json`."""
        return self._asdict()


def architectures_of(shapes: Shapes) -> list[str]:
    """The architectures whose tensors have exactly these names and shapes, for any number of channels and classes.

    Several if architectures differ only in their mathematics; none for tensors of a foreign layout.
    """
    return _names_by(shapes, names_with_fingerprint)


def fused_architectures_of(shapes: Shapes) -> list[str]:
    """As `architectures_of`, for tensors of the form for inference (`zoo.reparameterize`)."""
    return _names_by(shapes, names_with_fused_fingerprint)


def _names_by(shapes: Shapes, find: Callable[[str], list[str]]) -> list[str]:
    """The architectures that the fingerprints of these tensors stand for."""
    found: dict[int, list[str]] = {}
    for input_layers, classifier in _possible_layers(shapes):
        names = find(fingerprint(shapes, input_layers, classifier))
        found.setdefault(_num_inside(shapes, classifier), []).extend(names)
    # If a head with layers of its own counts as a classifier, it is ignored: the reading that ignores least fits best.
    best = next((names for _, names in sorted(found.items()) if names), [])
    return list(dict.fromkeys(best))


def _num_inside(shapes: Shapes, classifier: Sequence[str]) -> int:
    """The number of tensors in layers within the classifiers."""
    inside = (name.removeprefix(f"{path}.") for path in classifier for name in shapes if name.startswith(f"{path}."))
    return sum("." in rest for rest in inside)


def architectures_of_other_size(shapes: Shapes) -> list[str]:
    """The architectures that zoo builds and that these tensors fit, ignoring the image and patch size."""
    found: list[str] = []
    for input_layers, classifier in _possible_layers(shapes):
        for family in families_of_sizes():
            free = size_free(size_facts(family), shapes)
            if free != shapes:
                found += names_with_size_free_fingerprint(family, fingerprint(free, input_layers, classifier))
    return list(dict.fromkeys(found))


def size_free(facts: SizeFacts, shapes: Shapes) -> dict[str, Sequence[int]]:
    """The shapes with everything removed that depends on the image or patch size, by a family's facts."""
    is_sized = re.compile("|".join(f"(?:{one.names})" for one in facts.tensors) or "(?!)").fullmatch
    free: dict[str, Sequence[int]] = {}
    for name, shape in shapes.items():
        if is_sized(name):
            free[name] = ()
        elif name == facts.patch_kernel:
            free[name] = shape[:-2] if len(shape) == 4 else shape[:1]
        else:
            free[name] = shape
    return free


def _possible_layers(shapes: Shapes) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (input layers, classifier) of architectures whose input layers are all among the tensors.

    A classifier is reduced to the modules that exist: absent ones make no difference to the fingerprint.
    """
    deepest = 1 + max(path.count(".") for _, classifier in task_layers() for path in classifier)
    # No deeper: an untrusted name may have a million parts.
    modules = {name[: end.start()] for name in shapes for end in islice(_SEPARATOR.finditer(name), deepest)}
    found = {
        (input_layers, tuple(path for path in classifier if path in modules))
        for input_layers, classifier in task_layers()
        if all(f"{layer}.weight" in shapes for layer in input_layers)
    }
    return sorted(found)


def identify(
    tensors: Mapping[str, StoredTensor], *, guess: bool = True, stated_size: tuple[int, int] | None = None
) -> list[Identity]:
    """What a checkpoint may be, the best match first; guesses if nothing matches exactly; empty if nothing is close.

    Args:
        tensors: by name, as stored; only names and shapes are read.
        guess: whether to guess, which takes longer.
        stated_size: height and width of the images that the file states.

    Raises InvalidInputError for tensors with names of a foreign ecosystem whose shapes do not match these names.
    """
    parts = cache(partial(_part, tensors))
    if parts("").architectures:  # nothing wraps the network
        return [_described(parts("").architectures, "exact", parts(""), stated_size)]
    prefixes = sorted({"", *_before_input_layers(tensors), *_wrappers(tensors)}, key=lambda one: (len(one), one))
    for match in ("exact", "other size"):
        found: list[Identity] = []
        for prefix in prefixes:
            if any(prefix.startswith(network.prefix) for network in found):
                continue  # it is inside a network that was already recognised
            part = parts(prefix)
            names = part.architectures if match == "exact" else tuple(architectures_of_other_size(part.shapes))
            if names:
                found.append(_described(names, match, part, stated_size))
        if found:
            return sorted(found, key=lambda one: (-one.share, one.prefix))
    if not guess or len(tensors) > _MOST_TENSORS_TO_GUESS:
        return []
    from zoo.core.identify.similar_architectures import find_similar

    own = [parts(prefix) for prefix in prefixes]
    nearest = [_nearest_layout(part) for part in own]
    # A foreign layout may share names with timm's networks that have a prefix of their own: both readings are tried.
    readings = nearest + [part for part, other in zip(own, nearest, strict=True) if other is not part]
    similar = [(part, find_similar(part.shapes)) for part in readings]
    return _with_strays(similar, stated_size) or _guesses(similar) or _guesses_by_shapes(tensors)


def _with_strays(
    parts: Iterable[tuple[_Part, Sequence[Similar]]], stated_size: tuple[int, int] | None
) -> list[Identity]:
    """The complete networks with a few additional tensors that do not belong to them."""
    from zoo.core.identify.stray_tensors import architectures_with_strays

    found: list[Identity] = []
    for part, similar in parts:
        if any(part.prefix.startswith(network.prefix) for network in found):
            continue
        whole = architectures_with_strays(part.shapes, similar)
        if whole:
            own = {name: tensor for name, tensor in part.tensors.items() if name not in whole.strays}
            share = part.share * len(own) / len(part.tensors)
            one = _described(whole.architectures, "exact", part._replace(tensors=own, share=share), stated_size)
            found.append(one._replace(strays=whole.strays))
    return sorted(found, key=lambda one: (-one.share, one.prefix))


def _guesses(parts: Iterable[tuple[_Part, Sequence[Similar]]]) -> list[Identity]:
    from zoo.core.identify.similar_architectures import MOST_GUESSES

    found = [(similar, part) for part, all_similar in parts for similar in all_similar]
    found.sort(key=lambda one: (-one[0].overlap, -one[0].coverage, len(one[1].prefix)))
    return [
        _described(similar.architectures, "similar", part)._replace(coverage=similar.coverage)
        for similar, part in found[:MOST_GUESSES]
    ]


def _guesses_by_shapes(tensors: Mapping[str, StoredTensor]) -> list[Identity]:
    """The nearest architectures by shapes alone; what their layers are called in the file is not known."""
    from zoo.core.files.float_bytes import FLOAT_DTYPES
    from zoo.core.identify.similar_shapes import find_similar_shapes

    shapes = {name: tensor.shape for name, tensor in tensors.items() if tensor.dtype in FLOAT_DTYPES}
    return [
        Identity(
            architectures=similar.architectures,
            match="similar",
            layout=_FOREIGN,
            prefix="",
            share=1.0,
            coverage=similar.coverage,
            in_chans=None,
            num_classes=0,
            image_size=None,
            patch_size=None,
            adapted=False,
        )
        for similar in find_similar_shapes(shapes)
    ]


class _Part(NamedTuple):
    """The tensors with a common prefix, in timm's layout, converted to it if necessary.

    `architectures` are those with exactly these tensors, in their form for inference if `is_fused`.
    """

    prefix: str
    layout: str
    share: float
    tensors: Mapping[str, StoredTensor]
    architectures: tuple[str, ...]
    is_fused: bool = False

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
    shapes = {name: tensor.shape for name, tensor in inside.items()}
    architectures = tuple(architectures_of(shapes))
    part = _Part(prefix, _TIMM, share, inside, architectures)
    if architectures:  # they have timm's names: the tables of other layouts, which take long to read, add nothing
        return part
    if fused := fused_architectures_of(shapes):
        return part._replace(architectures=tuple(fused), is_fused=True)
    from zoo.core.layouts.engine import detect_layout, to_timm

    layout = detect_layout(shapes)
    if layout is None:
        return part
    try:
        renamed = {tensor.name: tensor for tensor in to_timm(layout, inside.values(), read=False)}
    except InvalidInputError:
        if not prefix:
            raise
        return part  # the few names of a part may match a layout by chance
    architectures = tuple(architectures_of({name: tensor.shape for name, tensor in renamed.items()}))
    return _Part(prefix, layout, share, renamed, architectures)


def _nearest_layout(part: _Part) -> _Part:
    if part.layout != _TIMM:
        return part
    from zoo.core.layouts.engine import nearest_to_timm

    layout, tensors = nearest_to_timm(part.tensors)
    return part if layout == _TIMM else part._replace(layout=layout, tensors=tensors)


def _wrappers(names: Iterable[str]) -> list[str]:
    """The outer modules that hold the most tensors; one of them may wrap a network whose names are not timm's."""
    held = Counter(name[: end.end()] for name in names for end in islice(_SEPARATOR.finditer(name), _MOST_WRAPPERS))
    return [prefix for prefix, _ in held.most_common(MAX_PREFIXES)]


def _before_input_layers(names: Iterable[str]) -> list[str]:
    """The prefixes that precede the name of some architecture's input layer."""
    endings = {f"{layer}.weight" for layer in input_layer_names()}
    firsts = {ending.partition(".")[0] for ending in endings}
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for start, part in enumerate(parts):
            if part in firsts and ".".join(parts[start:]) in endings:
                found["".join(f"{part}." for part in parts[:start])] = None
    return sorted(found, key=len)[:MAX_PREFIXES]


def _described(names: tuple[str, ...], match: str, part: _Part, stated_size: tuple[int, int] | None = None) -> Identity:
    from zoo.core.channels.stem import find_stem

    layers = fused_layers(names[0]) if part.is_fused else task_layers_of(names[0])
    assert layers is not None  # the tables that name an architecture have its line
    has_stem = all(f"{layer}.weight" in part.tensors for layer in module_paths(layers.first_conv))
    try:
        # `alone` avoids a loop: the hint of an error would identify the tensors again.
        in_chans = find_stem(part.tensors, layers, "the checkpoint", alone=True).from_chans if has_stem else None
    except InvalidInputError:  # it reads its image with fixed filters
        in_chans = None
    sizes = sizes_of(layers, match, part.tensors, stated_size) if layers.may_depend_on_size else Sizes()
    return Identity(
        architectures=names,
        match=match,
        layout=part.layout,
        prefix=part.prefix,
        share=part.share,
        coverage=1.0,
        in_chans=in_chans,
        num_classes=num_classes_of(layers, part.tensors),
        image_size=sizes.image,
        patch_size=sizes.patch,
        adapted=in_chans not in (None, layers.input_size[0]),
        positions=sizes.positions,
        reparameterized=part.is_fused,
    )


def num_classes_of(cfg: PretrainedCfg | TaskLayers, tensors: Mapping[str, StoredTensor]) -> int:
    """Rows of the classifier that `cfg` names; 0 if it is not among the tensors."""
    for path in module_paths(cfg.classifier):
        weight = tensors.get(f"{path}.weight")
        if weight is not None and weight.shape:
            return weight.shape[0]
    return 0


class Sizes(NamedTuple):
    """The sizes that shapes depend on; None if they do not, or do not reveal them. For `positions` see `Identity`."""

    image: tuple[int, int] | None = None
    patch: tuple[int, int] | None = None
    positions: int | None = None


def sizes_of(
    cfg: PretrainedCfg | TaskLayers,
    match: str,
    tensors: Mapping[str, StoredTensor],
    stated: tuple[int, int] | None = None,
) -> Sizes:
    """Image and patch size, if the shapes of the tensors depend on them.

    Args:
        cfg: the architecture's.
        match: how it was found, see `Identity`.
        tensors: in timm's layout.
        stated: height and width stated for these tensors; ignored if they contradict the shapes.
    """
    family = family_of(cfg.architecture) or ""
    facts = size_facts(family)
    kernel = tensors.get(facts.patch_kernel)
    patch = (kernel.shape[2], kernel.shape[3]) if kernel is not None and len(kernel.shape) == 4 else None
    depends = any(re.fullmatch(one.names, name) for one in facts.tensors for name in tensors)
    if not depends:
        return Sizes(patch=patch)
    from zoo.core.resize.plan import fits_size, image_size_of

    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    usual = (cfg.input_size[1], cfg.input_size[2])
    if stated and fits_size(family, shapes, stated):
        return Sizes(stated, patch)
    if match == "exact":
        return Sizes(usual, patch)
    telling = (one.names for one in facts.tensors if one.tells_size)
    table = next((name for pattern in telling for name in shapes if re.fullmatch(pattern, name)), None)
    if table is None:
        return Sizes(patch=patch)
    try:
        return Sizes(image_size_of(family, shapes, source_size=usual, architecture=cfg.architecture), patch)
    except InvalidInputError:
        shape = shapes[table]
        return Sizes(patch=patch, positions=shape[1] if len(shape) == 3 else None)
