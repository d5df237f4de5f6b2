"""Which layers of a checkpoint read the image: as stated, as known of the architecture, or found, and then said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.float_bytes import FLOAT_DTYPES
from zoo.core.input_layers import InputLayout
from zoo.core.model_facts import module_paths
from zoo.core.stored_tensor import StoredTensor

if TYPE_CHECKING:
    from zoo.core.model_facts import TaskLayers
    from zoo.core.records import PretrainedCfg

MAX_GUESSED_CHANS = 64
"""More input channels than sensors have mean that a layer reads features, not an image."""


class Stem(NamedTuple):
    """The input layers of one checkpoint: module paths, how their channels lie, and how many they read.

    `note` says how they were found, where nobody stated it.
    """

    layers: tuple[str, ...]
    layout: InputLayout
    from_chans: int
    note: str = ""

    @property
    def weights(self) -> tuple[str, ...]:
        """The tensor names."""
        return tuple(f"{layer}.weight" for layer in self.layers)


def find_stem(
    tensors: Mapping[str, StoredTensor],
    cfg: PretrainedCfg | TaskLayers,
    source: str,
    *,
    input_layers: Sequence[str] = (),
    layout: InputLayout | None = None,
) -> Stem:
    """The input layers of a checkpoint.

    Args:
        tensors: by name.
        cfg: may name them, and the architecture.
        source: the file, for messages.
        input_layers: module paths that the user named; they precede the config's.
        layout: as the user stated it; else what is known of the architecture, else a convolution's.

    Raises:
        InvalidInputError: no such layer, none found, several candidates, or a shape that is no input layer's.
    """
    note = ""
    layers = tuple(layer.removesuffix(".weight") for layer in input_layers) or module_paths(cfg.first_conv)
    if not layers and _has_no_input_layer(cfg.architecture):
        raise InvalidInputError(
            f"{cfg.architecture} reads three channels with fixed filters; it has no input layer to adapt.",
            path=source,
        )
    if not layers:
        layers, note = _found(tensors, source)
    layout = layout or _known_layout(cfg.architecture)
    chans = {layer: _channels(tensors, f"{layer}.weight", layout, cfg, source) for layer in layers}
    if len(set(chans.values())) > 1:
        counts = ", ".join(f"{layer} {count}" for layer, count in chans.items())
        raise InvalidInputError(f"{source}: the input layers should read equally many channels, found {counts}.")
    return Stem(layers, layout, chans[layers[0]], note)


def _has_no_input_layer(architecture: str) -> bool:
    from zoo.core.known_architectures import task_layers_of

    known = task_layers_of(architecture)
    return known is not None and not known.first_conv


def _known_layout(architecture: str) -> InputLayout:
    """That of an architecture which zoo builds or knows; a convolution's for any other."""
    from zoo.core.known_architectures import task_layers_of

    known = task_layers_of(architecture)
    return InputLayout() if known is None else InputLayout.parse(known.input_layout)


def _channels(
    tensors: Mapping[str, StoredTensor], name: str, layout: InputLayout, cfg: PretrainedCfg | TaskLayers, source: str
) -> int:
    tensor = tensors.get(name)
    if tensor is None:
        found = ", ".join(key[:80] for key in list(tensors)[:3]) or "no tensors"
        reader = f", which {cfg.architecture} reads its image with" if cfg.architecture else ""
        raise InvalidInputError(
            f"{source} has no {name}{reader}; it begins with {found}.", hint=_missing_hint(tensors, name), path=source
        )
    channels = layout.channels(tensor.shape) if tensor.dtype in FLOAT_DTYPES else 0
    if not channels:
        hint = "Name the architecture that the file was made for."
        if len(tensor.shape) == 2 and layout.kind == "conv":
            hint = "For a linear embedding of PxP pixels pass --input-layout blocks:N with N = P * P."
        raise InvalidInputError(
            f"{source}: {name} should hold floating-point numbers with the axes {_axes(layout)}, found"
            f" {tensor.dtype} {list(tensor.shape)}.",
            hint=hint,
            path=source,
        )
    return channels


def _axes(layout: InputLayout) -> str:
    from zoo.core.input_layers import KINDS

    return KINDS[layout.kind].partition(":")[0]


def _missing_hint(tensors: Mapping[str, StoredTensor], name: str) -> str:
    for found in tensors:
        if found.endswith(f".{name}"):
            return f"Its names have a prefix: pass --strip-prefix {found.removesuffix(name)[:80]}"
    from zoo.core.layouts.engine import convert_hint, detect_layout

    layout = detect_layout({key: tensor.shape for key, tensor in tensors.items()})
    return convert_hint(layout) or "Name the architecture that the file was made for, or the layer with --input-layer."


def _found(tensors: Mapping[str, StoredTensor], source: str) -> tuple[tuple[str, ...], str]:
    """The input layer of an unknown checkpoint: one by a published name, else the only one with three channels."""
    from zoo.core.known_architectures import input_layer_names

    plain = [name for name, tensor in tensors.items() if _may_read_an_image(tensor)]
    published = [name for name in plain if name.removesuffix(".weight") in input_layer_names()]
    # Several are the branches of one stem where they read equally many channels.
    if published and len({tensors[name].shape[1] for name in published}) == 1:
        layers = tuple(name.removesuffix(".weight") for name in published)
        verb = "was" if len(layers) == 1 else "were"
        return layers, f"{' and '.join(layers)} {verb} taken for the input layer, by name"
    coloured = [name for name in plain if tensors[name].shape[1] == 3]
    if len(coloured) == 1:
        layer = coloured[0].removesuffix(".weight")
        return (layer,), f"{layer} was taken for the input layer, as no other convolution reads three channels"
    candidates = [name.removesuffix(".weight") for name in coloured or plain]
    some = ", ".join(name[:80] for name in candidates[:5]) or "no convolution"
    raise InvalidInputError(
        f"The input layer of {source} cannot be told from names and shapes; candidates: {some}.",
        hint="Name the architecture, or the layer with --input-layer.",
        path=source,
    )


def _may_read_an_image(tensor: StoredTensor) -> bool:
    return (
        tensor.name.endswith(".weight")
        and tensor.dtype in FLOAT_DTYPES
        and len(tensor.shape) >= 4
        and 0 < tensor.shape[1] <= MAX_GUESSED_CHANS
    )
