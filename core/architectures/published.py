"""Lookups for every published architecture, whether zoo builds it or only knows it. Standard library only."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from zoo.core.architectures import registry
from zoo.core.architectures.default_cfgs import choose_cfg
from zoo.core.architectures.known import find_known, known_layers, known_names, known_task_layers
from zoo.core.architectures.model_facts import TaskLayers, module_paths
from zoo.core.architectures.names import split_model_name_tag
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
    name, tag = _resolve(model_name)
    cfgs = cfgs_of(name)
    if not cfgs and not tag:
        raise NotFoundError(f"{model_name} was registered without a default config.")
    cfg = choose_cfg(name, tag, cfgs)
    if registry.user_model(name) is not None or find_known(name) is not None:
        return cfg
    stated = registry.task_layers(name) or registry.find_spec(name)[1]
    if stated.classifier == cfg.classifier:
        return cfg
    from dataclasses import replace

    # The published config of an untrained model with two heads names only one of them.
    return replace(cfg, classifier=stated.classifier)


def cfgs_of(name: str) -> dict[str, PretrainedCfg]:
    """Default configs of an architecture by tag, the default first. Raises UnknownModelError.

    The name must be a current one, without a tag.
    """
    known = find_known(name)
    if known is not None and registry.user_model(name) is None:
        return known.cfgs_by_tag()
    return registry.cfgs_of(name)


def _resolve(model_name: str) -> tuple[str, str]:
    """Architecture and tag of a name. An old name warns once and becomes its successor. Raises UnknownModelError."""
    # Try known architectures first: the registry reads the rows of every family before it gives up on a name.
    name, tag = split_model_name_tag(model_name)
    if find_known(name) is not None or registry.is_current(name):
        return name, tag
    successor = registry.current_name(model_name)
    name, tag = split_model_name_tag(successor)
    if successor == model_name or not (find_known(name) or registry.is_current(name)):
        raise registry.unknown_model(successor, also=known_names())
    return name, tag


@cache
def task_layers_of(name: str) -> TaskLayers | None:
    """The input layers and the classifier of an architecture that zoo builds or knows; None for any other.

    Parses one line of a table and imports no rows.
    """
    return known_task_layers(name) or registry.task_layers(name)


def fingerprint_of(name: str) -> str:
    """The fingerprint of an architecture that zoo builds or knows; '' for any other."""
    known = find_known(name)
    if known is not None:
        return known.fingerprint
    try:
        return registry.facts(name).fingerprint
    except UnknownModelError:
        return ""


def fingerprints_of(name: str) -> tuple[str, ...]:
    """The fingerprints of an architecture as it is trained and of its form for inference; empty for an unknown name."""
    return tuple(filter(None, (fingerprint_of(name), registry.fused_fingerprint(name))))


def family_of(name: str) -> str | None:
    """The family of an architecture that zoo builds or knows; None for any other."""
    layers = task_layers_of(name)
    return layers and layers.family


def num_features(name: str) -> int | None:
    """Channels of the last feature map of an architecture that zoo builds or knows; None for any other."""
    known = find_known(name)
    if known is not None:
        return known.num_features
    try:
        return registry.facts(name).num_features
    except UnknownModelError:
        return None


def classifier_inputs(name: str) -> dict[str, tuple[int, ...]]:
    """Each classifier's path in an architecture, with its weight's shape without the first axis, the classes.

    Empty if zoo neither builds nor knows the architecture, or if the published model has no place for a classifier.
    """
    known = find_known(name)
    if known is not None:
        return known.inputs_of_classifiers()
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
    """Every module path of an input layer, with the number of architectures that have it, zoo's included."""
    return Counter(path for first_conv, _ in _layers() for path in first_conv)


def classifier_names() -> Counter[str]:
    """Every module path of a classifier, with the number of architectures that have it, zoo's included."""
    return Counter(path for _, classifier in _layers() for path in classifier)


@cache
def task_layers() -> frozenset[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (input layers, classifier) module paths of every architecture, zoo's included, each pair once."""
    return frozenset(_layers())


@cache
def _layers() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """`first_conv` and `classifier` of every architecture, and of every form for inference."""
    stated = [*registry.layers_of_every_architecture(), *registry.layers_of_every_fused_form(), *known_layers()]
    return tuple((module_paths(first_conv), module_paths(classifier)) for first_conv, classifier in stated)
