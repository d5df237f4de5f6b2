"""The layers of a checkpoint that read the image: as stated, as known for the architecture, or found and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.architectures.model_facts import module_paths
from zoo.core.channels.data_flow import Layer, image_readers, layers_of, readers_beside
from zoo.core.channels.input_layers import InputLayout
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.float_bytes import FLOAT_DTYPES
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.files.weight_forms import other_form, parametrised_weights

if TYPE_CHECKING:
    from zoo.core.architectures.model_facts import TaskLayers
    from zoo.core.architectures.records import PretrainedCfg

_MOST_TOLD = 5
"""The most candidates that an error names."""


class MissingInputLayerError(InvalidInputError):
    """A checkpoint lacks the layer that should read the image; `layer` is its module path."""

    def __init__(self, message: str, layer: str, path: str) -> None:
        super().__init__(message, hint="Name the layer that reads the image with --input-layer.", path=path)
        self.layer = layer


class NoInputLayerError(InvalidInputError):
    """An architecture reads its image with fixed filters, which no checkpoint can adapt."""


class Stem(NamedTuple):
    """The input layers of a checkpoint: module paths, weight names, and the layout of the channels.

    Args:
        chans: the number of channels that each layer reads.
        apart: whether each layer reads channels of its own instead of all of the image's; then `new_chans` are the
            requested numbers, layer by layer.
        note: how the layers were found if nobody stated them, and which other layers read the image.
    """

    layers: tuple[str, ...]
    weights: tuple[str, ...]
    layout: InputLayout
    chans: tuple[int, ...]
    apart: bool = False
    new_chans: tuple[int, ...] = ()
    note: str = ""

    @property
    def num_groups(self) -> int:
        """The number of channel groups that are mixed separately; 1 except for grouped convolutions."""
        return self.layout.count if self.layout.kind == "groups" else 1

    @property
    def from_chans(self) -> int:
        """The number of channels of the images that the checkpoint was made for."""
        return sum(self.chans) if self.apart else self.chans[0]


def find_stem(
    tensors: Mapping[str, StoredTensor],
    cfg: PretrainedCfg | TaskLayers,
    source: str,
    *,
    input_layers: Sequence[str] = (),
    layout: InputLayout | None = None,
    alone: bool = False,
) -> Stem:
    """Find all input layers of a checkpoint.

    Args:
        tensors: by name.
        cfg: may name the input layers and the architecture.
        source: the file, for messages.
        input_layers: module paths from the user, which take precedence over the config's. Either none or all have their
            own number of channels: `path=N`.
        layout: as the user stated it; otherwise the architecture's, otherwise a convolution's.
        alone: whether the tensors are known to be exactly the architecture's, so that no other layer can read the
            image.

    Raises:
        InvalidInputError: a named layer does not exist, no layer or several candidates were found, other layers read
            the image too, or the shape fits no input layer.
        UsageError: only some layers have a number of channels.
    """
    named, new_chans = _with_channels(input_layers) if input_layers else ((), ())
    layers = named or module_paths(cfg.first_conv)
    if not layers and _has_no_input_layer(cfg.architecture):
        raise NoInputLayerError(
            f"{cfg.architecture} reads three channels with fixed filters; it has no input layer to adapt.",
            path=source,
        )
    note = ""
    if not layers:
        layers, note = _found(tensors, source)
    layout = layout or known_layout(cfg.architecture)
    weights = tuple(_weight_of(tensors, layer) for layer in layers)
    chans = tuple(_channels(tensors, weight, layout, cfg, source) for weight in weights)
    apart = bool(new_chans) or (len(layers) > 1 and chans[0] != cfg.input_size[0] == sum(chans))
    shown = dict(zip(layers, chans, strict=True))
    if not new_chans and len(set(chans)) > 1:
        raise InvalidInputError(
            f"The input layers of {source} read different numbers of channels: {_counted(shown)}.",
            hint=_hint_apart(layers),
            path=source,
        )
    others = [] if alone or _is_whole(tensors, layers, cfg) else _others(tensors, weights)
    if others and not _is_decided(named, cfg):
        shown |= {_path(layer.weight): layer.reads for layer in others}
        raise InvalidInputError(
            f"In {source} other layers read the image too, not only {' and '.join(layers)}: {_counted(shown)}.",
            hint=_choice_hint(tensors, shown),
            path=source,
        )
    if others:
        kept = " and ".join(_path(layer.weight) for layer in others[:_MOST_TOLD])
        note = f"{kept} {'reads' if len(others) == 1 else 'read'} the image too and {_stay(len(others))}"
    return Stem(layers, weights, layout, chans, apart, new_chans, note)


def _is_decided(named: Sequence[str], cfg: PretrainedCfg | TaskLayers) -> bool:
    """Whether the layers were stated: by the user, or by a file about an architecture unknown to zoo."""
    from zoo.core.architectures.published import fingerprint_of

    return bool(named or (module_paths(cfg.first_conv) and not fingerprint_of(cfg.architecture)))


def _stay(count: int) -> str:
    return "stays as it is" if count == 1 else "stay as they are"


def _with_channels(input_layers: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the module paths and the channels requested for each, () if no number of channels was given."""
    parts = [layer.partition("=") for layer in input_layers]
    layers = tuple(path.removesuffix(".weight") for path, _, _ in parts)
    if not any(mark for _, mark, _ in parts):
        return layers, ()
    if not all(count.isascii() and count.isdigit() and len(count) < 10 and int(count) for _, _, count in parts):
        raise UsageError(
            "Either every input layer is given its channels, or none is.",
            hint=_hint_apart(layers),
        )
    return layers, tuple(int(count) for _, _, count in parts)


def _hint_apart(layers: Sequence[str]) -> str:
    options = " ".join(f"--input-layer {layer}=N" for layer in layers[:_MOST_TOLD])
    return f"Say how many channels each should read: {options}"


def _weight_of(tensors: Mapping[str, object], layer: str) -> str:
    """The name of a layer's weight; a copy without dots (`model_ema.conv1weight`) may be given by its full name."""
    return layer if layer in tensors and f"{layer}.weight" not in tensors else f"{layer}.weight"


def _path(weight: str) -> str:
    return weight.removesuffix(".weight")


def _counted(chans: Mapping[str, int]) -> str:
    told = [f"{layer} reads {count}" for layer, count in list(chans.items())[:_MOST_TOLD]]
    more = [f"{len(chans) - len(told)} more"] if len(chans) > len(told) else []
    return ", ".join([*told, *more])


def _is_whole(tensors: Mapping[str, StoredTensor], layers: Sequence[str], cfg: PretrainedCfg | TaskLayers) -> bool:
    """Whether these are exactly the tensors of the architecture that the config names."""
    if not cfg.architecture:
        return False
    from zoo.core.architectures.fingerprint import fingerprint
    from zoo.core.architectures.published import fingerprints_of

    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return fingerprint(shapes, layers, module_paths(cfg.classifier)) in fingerprints_of(cfg.architecture)


def _others(tensors: Mapping[str, StoredTensor], weights: Sequence[str]) -> list[Layer]:
    return readers_beside(_float_shapes(tensors), weights)


def _float_shapes(tensors: Mapping[str, StoredTensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of the floating-point tensors; a weight computed from others (weight norm, pruning) has its own name."""
    computed = {stored: weight for weight, stored in parametrised_weights(tensors.keys()).items()}
    shapes = {name: tensor.shape for name, tensor in tensors.items() if tensor.dtype in FLOAT_DTYPES}
    return {computed.get(name, name): shape for name, shape in shapes.items()}


def _has_no_input_layer(architecture: str) -> bool:
    from zoo.core.architectures.published import task_layers_of

    known = task_layers_of(architecture)
    return known is not None and not known.first_conv


def known_layout(architecture: str) -> InputLayout:
    """The layout of a published architecture; a convolution's for any other."""
    from zoo.core.architectures.published import task_layers_of

    known = task_layers_of(architecture)
    return InputLayout() if known is None else InputLayout.parse(known.input_layout)


def _channels(
    tensors: Mapping[str, StoredTensor], name: str, layout: InputLayout, cfg: PretrainedCfg | TaskLayers, source: str
) -> int:
    tensor = tensors.get(name)
    if tensor is None and name in parametrised_weights(tensors.keys()):
        raise InvalidInputError(
            f"{source}: the input layer {_path(name)} is stored as the factors that its weight is computed from.",
            hint=f"{other_form(tensors.keys())}.".capitalize(),
            path=source,
        )
    if tensor is None:
        found = ", ".join(key[:80] for key in list(tensors)[:3]) or "no tensors"
        reader = f", which {cfg.architecture} reads its image with" if cfg.architecture else ""
        raise MissingInputLayerError(f"{source} has no {name}{reader}; it begins with {found}.", _path(name), source)
    channels = layout.channels(tensor.shape) if tensor.dtype in FLOAT_DTYPES else 0
    if not channels:
        hint = "Name another layer with --input-layer, or how its channels lie with --input-layout."
        if tensor.dtype not in FLOAT_DTYPES:
            hint = "Take a file that stores this layer as float32, float16 or bfloat16."
        elif len(tensor.shape) == 2 and layout.kind == "conv":
            hint = "For a linear embedding of PxP pixels pass --input-layout blocks:N with N = P * P."
        raise InvalidInputError(
            f"{source}: {name} should hold floating-point numbers with the axes {_axes(layout)}, found"
            f" {tensor.dtype} {list(tensor.shape)}.",
            hint=hint,
            path=source,
        )
    return channels


def _axes(layout: InputLayout) -> str:
    from zoo.core.channels.input_layers import KINDS

    return KINDS[layout.kind].partition(":")[0]


# ---------------------------------------------------------------- networks that nobody named


def _found(tensors: Mapping[str, StoredTensor], source: str) -> tuple[tuple[str, ...], str]:
    """Find the input layers of an unknown checkpoint: by published names, or by channels that no other layer makes."""
    from zoo.core.architectures.published import input_layer_names

    shapes = _float_shapes(tensors)
    readers = image_readers(shapes)
    candidates = readers.sure or readers.possible
    published = [layer for layer in candidates if _path(layer.weight) in input_layer_names()]
    # Several layers are the branches of one stem if they read equally many channels.
    if published and len({layer.reads for layer in published}) == 1:
        layers = tuple(_path(layer.weight) for layer in published)
        verb = "was" if len(layers) == 1 else "were"
        return layers, f"{' and '.join(layers)} {verb} taken for the input layer, by name"
    if len(readers.sure) == 1:
        layer = readers.sure[0]
        chans = "the one channel" if layer.reads == 1 else f"the {layer.reads} channels"
        return (path := _path(layer.weight),), (
            f"{path} was taken for the input layer, as no other layer makes {chans} that it reads"
        )
    shown = {_path(layer.weight): layer.reads for layer in candidates}
    if readers.sure:
        raise InvalidInputError(
            f"Several layers of {source} read the image: {_counted(shown)}.",
            hint=_choice_hint(tensors, shown),
            path=source,
        )
    some = ", ".join(f"{path[:80]} {list(shapes[_weight_of(shapes, path)])}" for path in list(shown)[:_MOST_TOLD])
    raise InvalidInputError(
        f"The input layer of {source} cannot be found by names and shapes; candidates: {some or 'no convolution'}.",
        hint="Name the architecture, or the layer: "
        + (f"--input-layer {next(iter(shown))}" if len(shown) == 1 else "--input-layer NAME"),
        path=source,
    )


def _choice_hint(tensors: Mapping[str, StoredTensor], chans: Mapping[str, int]) -> str:
    """A hint for choosing among several layers: all alike, each with channels of its own, or one network."""
    layers = list(chans)
    if len(layers) > _MOST_TOLD:
        return "Name each that should be adapted with --input-layer NAME."
    if len(set(chans.values())) == 1:
        options = " ".join(f"--input-layer {layer}" for layer in layers)
        both = "both" if len(layers) == 2 else "all"
        hint = f"To adapt {both} alike: {options}"
    else:
        hint = _hint_apart(layers)
    prefixes = [prefix for layer in layers if (prefix := _network_of(tensors, layer))]
    if prefixes:
        hint += f"; for one network alone: {' or '.join(f'--strip-prefix {prefix}' for prefix in prefixes)}"
    return hint


def _network_of(tensors: Mapping[str, StoredTensor], layer: str) -> str:
    """The prefix of a network whose only input layer is `layer`; empty if that network is the whole file."""
    prefix = ""
    for segment in layer.split(".")[:-1]:
        prefix += f"{segment}."
        inside = {
            name.removeprefix(prefix): shape
            for name, shape in _float_shapes(tensors).items()
            if name.startswith(prefix)
        }
        sure = image_readers(inside).sure
        if len(inside) < len(tensors) and len(sure) == 1 and len(layers_of(inside)) > 1:
            return prefix if sure[0].weight == f"{layer.removeprefix(prefix)}.weight" else ""
    return ""
