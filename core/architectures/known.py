"""Facts of the published architectures that zoo cannot build yet: enough to adapt their weights. Standard library only.

`known_architectures.json` has one line an architecture, in the words of the rows of `configs/`; it is generated, and a
family leaves it when it gets rows of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.architectures import registry
from zoo.core.architectures.line_table import LineTable
from zoo.core.architectures.model_facts import IMAGE_SIZE, Paths, TaskLayers, module_paths
from zoo.core.errors import NotFoundError, UnknownModelError

if TYPE_CHECKING:
    from zoo.core.architectures.records import ClassifierInit, PretrainedCfg, Weights

KNOWN_PATH = Path(__file__).with_name("known_architectures.json")
KNOWN_SECTION = "architectures"

_known = LineTable(KNOWN_PATH, KNOWN_SECTION)


class KnownArchitecture(NamedTuple):
    """What is known of an architecture without its code.

    `first_conv` and `classifier` are module paths: one, several (input branches, two heads) or None.
    `classifier_inputs` has for each classifier the sizes of its weight but the first, the classes; None where each
    reads the `num_features`, and nothing where the published model has no place for a classifier. An input layer has
    `input_blocks` entries a source channel on its input axis, 1 for a convolution: entry `block * C + c`, or with
    `channels_first` entry `c * input_blocks + block`. `fingerprint` is that of the module so called; `tags` has the
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
    classifier_inputs: tuple[Sequence[int], ...] | None = None

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
    from zoo.core.architectures.records import Weights

    tags = {tag: Weights(**_immutable(values)) for tag, values in row["tags"].items()}
    return KnownArchitecture(name=name, **_immutable(row) | {"tags": tags})


@cache
def task_layers_of(name: str) -> TaskLayers | None:
    """The input layers and the classifier of an architecture that zoo builds or knows, None of another.

    One line of a table is parsed, and no rows are imported.
    """
    row = _known.get(name)
    if row is None:
        return registry.task_layers(name)
    size = next(iter(row["tags"].values())).get("input_size", IMAGE_SIZE)
    layout = "planes" if row["channels_first"] else "blocks"
    return TaskLayers(
        architecture=name,
        family=row["family"],
        input_size=(3, size, size) if isinstance(size, int) else tuple(size),
        first_conv=registry.as_paths(row["first_conv"]),
        classifier=registry.as_paths(row["classifier"]),
        input_layout="conv" if row["input_blocks"] == 1 else f"{layout}:{row['input_blocks']}",
        may_depend_on_size=True,
    )


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
    layers = task_layers_of(name)
    return layers and layers.family


def classifier_inputs(name: str) -> dict[str, tuple[int, ...]]:
    """Of each classifier of an architecture that zoo builds or knows, by its path, the sizes of its weight but the
    first, the classes; empty for another, and where the published model has no place for a classifier."""
    known = find_known(name)
    if known is not None:
        paths = module_paths(known.classifier)
        inputs = [[known.num_features]] * len(paths) if known.classifier_inputs is None else known.classifier_inputs
        return {path: tuple(sizes) for path, sizes in zip(paths, inputs, strict=False)}
    try:
        return registry.classifier_inputs(name)
    except UnknownModelError:
        return {}


def classifier_init(name: str) -> ClassifierInit:
    """How an architecture's classifier is initialised: as zoo's model is, another as torch does a linear layer."""
    try:
        return registry.find_spec(name)[1].classifier_init
    except UnknownModelError:
        from zoo.core.architectures.records import Spec

        return Spec.classifier_init


def _immutable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


@cache
def known_names() -> tuple[str, ...]:
    """Every known architecture that zoo cannot build, in natural order."""
    return tuple(sorted(_known, key=registry.natural_key))


def known_with_fingerprint(digest: str) -> list[str]:
    """The known architectures whose tensors have these names and shapes."""
    return _known.names_where("fingerprint", digest)


def input_layer_names() -> Counter[str]:
    """Every module path that is an input layer of some architecture, with how many it is one of, zoo's included."""
    return Counter(path for first_conv, _ in _layers() for path in first_conv)


def classifier_names() -> Counter[str]:
    """Every module path that is a classifier of some architecture, with how many it is one of, zoo's included."""
    return Counter(path for _, classifier in _layers() for path in classifier)


@cache
def task_layers() -> frozenset[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (input layers, classifier) module paths of every architecture, zoo's included, each pair once."""
    return frozenset(_layers())


@cache
def _layers() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """`first_conv` and `classifier` of every architecture."""
    stated = [*registry.layers_of_every_architecture(), *_known.columns("first_conv", "classifier")]
    return tuple((module_paths(first_conv), module_paths(classifier)) for first_conv, classifier in stated)


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
    stated = registry.task_layers(cfg.architecture) or registry.find_spec(cfg.architecture)[1]
    if stated.classifier == cfg.classifier:
        return cfg
    from dataclasses import replace

    # The published config of an untrained model with two heads names one of them.
    return replace(cfg, classifier=stated.classifier)
