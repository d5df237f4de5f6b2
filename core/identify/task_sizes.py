"""The channels and classes of a network that is known by name, as the tensors of its file show them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from zoo.core.architectures.model_facts import TaskLayers, module_paths
from zoo.core.architectures.published import task_layers_of
from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.identify.identify import identify, num_classes_of


class TaskSizes(NamedTuple):
    """Channels of the input layers and rows of the classifier; None where the tensors do not show them."""

    in_chans: int | None = None
    num_classes: int | None = None


def task_sizes(tensors: Mapping[str, StoredTensor], architecture: str) -> TaskSizes:
    """What a file that states nothing shows of its network.

    Args:
        tensors: by name, in timm's layout or another that zoo knows.
        architecture: of which network they are said to be.
    """
    layers = task_layers_of(architecture)
    if layers is None:
        return TaskSizes()
    filled = {name: tensor for name, tensor in tensors.items() if prod(tensor.shape)}
    inputs = [f"{path}.weight" for path in module_paths(layers.first_conv)]
    if not inputs or any(name in filled for name in inputs):
        return TaskSizes(_channels(filled, layers), num_classes_of(layers, filled) or None)
    for one in identify(filled, guess=False):  # in another library's names
        if architecture in one.architectures:
            return TaskSizes(one.in_chans, one.num_classes or None)
    return TaskSizes()


def _channels(tensors: Mapping[str, StoredTensor], layers: TaskLayers) -> int | None:
    from zoo.core.channels.stem import find_stem

    try:
        return find_stem(tensors, layers, layers.architecture, alone=True).from_chans
    except InvalidInputError:  # no such layer, or none that a number of channels fits
        return None
