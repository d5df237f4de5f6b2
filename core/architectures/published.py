"""Facts of an architecture by its name, for whoever has weights and no model. Standard library only.

Most functions answer for any name, with nothing for one that zoo does not have.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from zoo.core.architectures import registry
from zoo.core.architectures.default_cfgs import choose_cfg
from zoo.core.architectures.model_facts import TaskLayers, module_paths
from zoo.core.errors import NotFoundError, UnknownModelError

if TYPE_CHECKING:
    from zoo.core.architectures.records import ClassifierInit, PretrainedCfg


def find_cfg(model_name: str) -> PretrainedCfg:
    """Default config of `name` (its default tag) or `name.tag` of any published or registered architecture.

    An old name warns.

    Raises:
        UnknownModelError: no such architecture.
        NotFoundError: it has no such tag; the message lists the tags it has.
    """
    name, tag = registry.resolve_name(model_name)
    cfgs = registry.cfgs_of(name)
    if not cfgs and not tag:
        raise NotFoundError(f"{model_name} was registered without a default config.")
    cfg = choose_cfg(name, tag, cfgs)
    if registry.user_model(name) is not None:
        return cfg
    stated = registry.task_layers(name) or registry.find_spec(name)[1]
    if stated.classifier == cfg.classifier:
        return cfg
    from dataclasses import replace

    # The published config of an untrained model with two heads names only one of them.
    return replace(cfg, classifier=stated.classifier)


@cache
def task_layers_of(name: str) -> TaskLayers | None:
    """The input layers and the classifier of an architecture; None for a name that zoo does not have.

    Parses one line of a table and imports no rows.
    """
    return registry.task_layers(name)


def fingerprint_of(name: str) -> str:
    """The fingerprint of an architecture; '' for a name that zoo does not have."""
    try:
        return registry.facts(name).fingerprint
    except UnknownModelError:
        return ""


def fingerprints_of(name: str) -> tuple[str, ...]:
    """The fingerprints of an architecture as it is trained and of its form for inference; empty for an unknown name."""
    return tuple(filter(None, (fingerprint_of(name), registry.fused_fingerprint(name))))


def family_of(name: str) -> str | None:
    """The family of an architecture; None for a name that zoo does not have."""
    layers = task_layers_of(name)
    return layers and layers.family


def num_features(name: str) -> int | None:
    """Channels of the last feature map of an architecture; None for a name that zoo does not have."""
    try:
        return registry.facts(name).num_features
    except UnknownModelError:
        return None


def classifier_inputs(name: str) -> dict[str, tuple[int, ...]]:
    """Each classifier's path in an architecture, with its weight's shape without the first axis, the classes.

    Empty for a name that zoo does not have, and if the published model has no place for a classifier.
    """
    try:
        return registry.classifier_inputs(name)
    except UnknownModelError:
        return {}


def classifier_init(name: str) -> ClassifierInit:
    """How to initialise an architecture's classifier: as zoo's model does, otherwise as torch does a linear layer."""
    try:
        return registry.find_spec(name)[1].classifier_init
    except UnknownModelError:
        from zoo.core.architectures.records import Spec

        return Spec.classifier_init


def input_layer_names() -> Counter[str]:
    """Every module path of an input layer, with the number of architectures that have it."""
    return Counter(path for first_conv, _ in _layers() for path in first_conv)


def classifier_names() -> Counter[str]:
    """Every module path of a classifier, with the number of architectures that have it."""
    return Counter(path for _, classifier in _layers() for path in classifier)


@cache
def task_layers() -> frozenset[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (input layers, classifier) module paths of every architecture, each pair once."""
    return frozenset(_layers())


@cache
def _layers() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """`first_conv` and `classifier` of every architecture, and of every form for inference."""
    stated = [*registry.layers_of_every_architecture(), *registry.layers_of_every_fused_form()]
    return tuple((module_paths(first_conv), module_paths(classifier)) for first_conv, classifier in stated)
