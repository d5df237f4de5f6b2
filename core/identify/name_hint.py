"""Hints for a file whose names are not the expected ones; each remedy is tried before it is shown."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.core.channels.data_flow import image_readers
from zoo.core.files.float_bytes import FLOAT_DTYPES
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.layouts.engine import convert_hint

_MOST_TENSORS = 20_000
"""The largest architecture has a sixth of it: comparing more tensors would take long."""

NO_MODEL = "Its names and shapes are those of no model that zoo knows."


def name_hint(
    tensors: Mapping[str, StoredTensor], architecture: str, *, input_layer: str = "", strips: bool = False
) -> str:
    """The sentence that `check`, `create` and `adapt-weights` print about a file that is not what it was taken for.

    Args:
        tensors: the file's, by name.
        architecture: the assumed architecture; '' if nobody named one.
        input_layer: the missing layer that should read the image, if that is the problem.
        strips: whether the command itself has --strip-prefix.

    Returns '' if the names are the architecture's, as far as they go.
    """
    if len(tensors) > _MOST_TENSORS:
        return NO_MODEL
    from zoo.core.identify.identify import identify

    found = next(iter(identify(tensors)), None)
    if found and found.match != "similar" and (hint := convert_hint(found.layout)):
        return hint
    if found and found.reparameterized and architecture in found.architectures:
        return "It is this model's form for inference, which `zoo create` builds for it and zoo.reparameterize gives."
    if found and found.match != "similar" and (found.prefix or architecture not in found.architectures):
        said = f" with {found.prefix} before them" if found.prefix else ""
        mend = f": {_stripping(found.prefix, strips)}" if found.prefix else ""
        return f"Its names{said} and shapes are those of {' and '.join(found.architectures[:3])}{mend}."
    if prefix := _before(tensors, input_layer):
        return f"{prefix} stands before {input_layer}: {_stripping(prefix, strips)}."
    if found and architecture not in found.architectures:
        said = f" with {found.prefix} before them" if found.prefix else ""
        return f"Its names{said} and shapes are nearest to {found.architectures[0]}'s."
    return "" if found else NO_MODEL


def missing_layer_hint(tensors: Mapping[str, StoredTensor], layer: str, architecture: str) -> str:
    """The hint for a file without the layer that should read the image."""
    hint = name_hint(tensors, architecture, input_layer=layer, strips=True)
    if hint not in ("", NO_MODEL):
        return hint
    readers = image_readers({name: one.shape for name, one in tensors.items() if one.dtype in FLOAT_DTYPES}).sure
    if len(readers) != 1:
        return hint or "Name the layer that reads the image with --input-layer."
    path = readers[0].weight.removesuffix(".weight")
    way = f"pass --input-layer {path}" if not architecture else "adapt the file itself, without the model's name"
    return f"{hint} Its layer {path} reads the image: {way}".strip()


def _stripping(prefix: str, strips: bool) -> str:
    option = f"--strip-prefix {prefix[:80]}"
    return f"{option} takes it off" if strips else f"`zoo convert {option}` takes it off"


def _before(tensors: Mapping[str, StoredTensor], layer: str) -> str:
    """The prefix of a layer's name, if the layer with that prefix reads the image; otherwise ''."""
    ending = f".{layer}.weight"
    if not layer or not any(name.endswith(ending) for name in tensors):
        return ""
    readers = image_readers({name: tensor.shape for name, tensor in tensors.items()}).sure
    found = [reader.weight.removesuffix(ending[1:]) for reader in readers if reader.weight.endswith(ending)]
    return min(found, key=len, default="")
