"""Facts of the published architectures that zoo cannot build yet: enough to adapt their weights. Standard library only.

`known_architectures.json` has one line an architecture, in the words of the rows of `core/configs/`; it is generated,
and a family leaves it when it gets rows of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from zoo.core import registry
from zoo.core.errors import NotFoundError, UnknownModelError
from zoo.core.line_table import LineTable
from zoo.core.records import PretrainedCfg, Weights, module_paths

KNOWN_PATH = Path(__file__).with_name("known_architectures.json")
KNOWN_SECTION = "architectures"

_known = LineTable(KNOWN_PATH, KNOWN_SECTION)

Paths = str | tuple[str, ...] | None


class KnownArchitecture(NamedTuple):
    """What is known of an architecture without its code.

    `first_conv` and `classifier` are module paths: one, several (input branches, two heads) or None. An input layer
    has `input_blocks` entries a source channel on its input axis, 1 for a convolution: entry `block * C + c`, or with
    `channels_first` entry `c * input_blocks + block`. `fingerprint` is that of `core.fingerprint`; `tags` has the
    default tag first.
    """

    name: str
    family: str
    first_conv: Paths
    classifier: Paths
    input_blocks: int
    channels_first: bool
    num_features: int
    pool_stride: int | None
    fingerprint: str
    tags: Mapping[str, Weights]

    @property
    def default_tag(self) -> str:
        """Tag of the config that the bare name stands for."""
        return next(iter(self.tags))

    def cfgs_by_tag(self) -> dict[str, PretrainedCfg]:
        """Default configs by tag, the default first."""
        return {
            tag: registry.compose_cfg(
                self.name,
                tag,
                row,
                first_conv=self.first_conv,
                classifier=self.classifier,
                total_stride=self.pool_stride,
            )
            for tag, row in self.tags.items()
        }


# ---------------------------------------------------------------- lookup


@cache
def find_known(name: str) -> KnownArchitecture | None:
    """The architecture of this name (without tag), None where zoo builds it or nobody knows it."""
    row = _known.get(name)
    if row is None:
        return None
    tags = {tag: Weights(**_immutable(values)) for tag, values in row["tags"].items()}
    return KnownArchitecture(name=name, **_immutable(row) | {"tags": tags})


def known_fingerprint(name: str) -> str:
    """The fingerprint of an architecture that zoo builds or knows, '' for another."""
    known = find_known(name)
    if known is not None:
        return known.fingerprint
    try:
        return registry.facts(name).fingerprint
    except UnknownModelError:
        return ""


def family_of(name: str) -> str | None:
    """The family of an architecture that zoo builds or knows, None for another."""
    known = find_known(name)
    if known is not None:
        return known.family
    try:
        return registry.facts(name).family
    except UnknownModelError:
        return None


def _immutable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


@cache
def known_names() -> tuple[str, ...]:
    """Every known architecture that zoo cannot build, in natural order."""
    return tuple(sorted(_known, key=registry.natural_key))


def known_with_fingerprint(digest: str) -> list[str]:
    """The known architectures whose tensors have these names and shapes."""
    return [name for name, row in _known.items() if row["fingerprint"] == digest]


def input_layer_names() -> Counter[str]:
    """Every module path that is an input layer of some architecture, with how many it is one of, zoo's included."""
    return _count("first_conv")


def classifier_names() -> Counter[str]:
    """Every module path that is a classifier of some architecture, with how many it is one of, zoo's included."""
    return _count("classifier")


def _count(layer: str) -> Counter[str]:
    return Counter(path for layers in _layers() for path in layers[layer])


def task_layers() -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (input layers, classifier) module paths of every architecture, zoo's included, each pair once."""
    return {(layers["first_conv"], layers["classifier"]) for layers in _layers()}


@cache
def _layers() -> tuple[dict[str, tuple[str, ...]], ...]:
    """`first_conv` and `classifier` of every architecture."""
    specs = [spec for family in registry.families() for spec in registry.variants(family).values()]
    found = [{layer: getattr(spec, layer) for layer in ("first_conv", "classifier")} for spec in specs]
    return tuple(
        {layer: module_paths(paths[layer]) for layer in ("first_conv", "classifier")}
        for paths in [*found, *_known.values()]
    )


# ---------------------------------------------------------------- default configs


def known_cfg(model_name: str) -> PretrainedCfg:
    """Default config of `name` (its default tag) or `name.tag` of an architecture that zoo cannot build.

    Raises:
        UnknownModelError: no such architecture.
        NotFoundError: it has no such tag; the message lists those it has.
    """
    name, tag = registry.split_model_name_tag(model_name)
    known = find_known(name)
    if known is None:
        raise registry.unknown_model(model_name, also=known_names())
    return registry.choose_cfg(name, tag, known.cfgs_by_tag())


def find_cfg(model_name: str) -> PretrainedCfg:
    """Default config of any published architecture, whether zoo can build it or not; an old name warns.

    Raises as `known_cfg`.
    """
    # Known ones first: the registry reads the rows of every family before it says that it has no such name.
    name, tag = registry.split_model_name_tag(model_name)
    known = find_known(name)
    if known is not None and registry.user_model(name) is None:
        return registry.choose_cfg(name, tag, known.cfgs_by_tag())
    if not registry.is_model(model_name):
        return known_cfg(registry.current_name(model_name))
    cfg = registry.get_pretrained_cfg(model_name, allow_unregistered=False)
    if cfg is None:
        raise NotFoundError(f"{model_name} was registered without a default config.")
    if registry.user_model(cfg.architecture) is not None:
        return cfg
    # The published config of an untrained model with two heads names one of them.
    return replace(cfg, classifier=registry.find_spec(cfg.architecture)[1].classifier)
