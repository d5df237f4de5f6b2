"""Facts about published architectures that zoo cannot build yet, enough to adapt their weights. Standard library only.

`known_architectures.json` has one line per architecture, with the keys of the rows in `configs/`. It is generated; a
family leaves it when it gets rows of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.architectures.default_cfgs import as_paths, compose_cfg
from zoo.core.architectures.line_table import LineTable
from zoo.core.architectures.model_facts import IMAGE_SIZE, Paths, TaskLayers, module_paths
from zoo.core.architectures.names import natural_key

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg, Weights

KNOWN_PATH = Path(__file__).with_name("known_architectures.json")
KNOWN_SECTION = "architectures"

_known = LineTable(KNOWN_PATH, KNOWN_SECTION)


class KnownArchitecture(NamedTuple):
    """What is known about an architecture without its code.

    `first_conv` and `classifier` are module paths: one, several (input branches, two heads) or None.
    `classifier_inputs` has, for each classifier, its weight's shape without the first axis, the classes. It is None if
    each classifier reads the `num_features`, and empty if the published model has no place for a classifier. An input
    layer has `input_blocks` entries per source channel on its input axis, 1 for a convolution: entry `block * C + c`,
    or with `channels_first` entry `c * input_blocks + block`. `fingerprint` is computed as in
    `core.architectures.fingerprint`. `tags` has the default tag first.
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
        """The tag that the bare name stands for."""
        return next(iter(self.tags))

    def cfgs_by_tag(self) -> dict[str, PretrainedCfg]:
        """Default configs by tag, the default first."""
        return {
            tag: compose_cfg(
                self.name,
                tag,
                row,
                first_conv=self.first_conv,
                classifier=self.classifier,
                total_stride=self.pool_stride,
            )
            for tag, row in self.tags.items()
        }

    def inputs_of_classifiers(self) -> dict[str, tuple[int, ...]]:
        """Each classifier's path, with its weight's shape without the first axis, the classes."""
        paths = module_paths(self.classifier)
        inputs = [[self.num_features]] * len(paths) if self.classifier_inputs is None else self.classifier_inputs
        return {path: tuple(sizes) for path, sizes in zip(paths, inputs, strict=False)}


# ---------------------------------------------------------------- lookup


@cache
def find_known(name: str) -> KnownArchitecture | None:
    """The architecture of this name (without tag); None if zoo builds it or nobody knows it."""
    row = _known.get(name)
    if row is None:
        return None
    from zoo.core.architectures.records import Weights

    tags = {tag: Weights(**_immutable(values)) for tag, values in row["tags"].items()}
    return KnownArchitecture(name=name, **_immutable(row) | {"tags": tags})


def _immutable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


@cache
def known_names() -> tuple[str, ...]:
    """Every known architecture that zoo cannot build, in natural order."""
    return tuple(sorted(_known, key=natural_key))


def known_with_fingerprint(digest: str) -> list[str]:
    """The known architectures whose tensors have these names and shapes."""
    return _known.names_where("fingerprint", digest)


def known_task_layers(name: str) -> TaskLayers | None:
    """The input layers and the classifier of an architecture that zoo cannot build; None for any other."""
    row = _known.get(name)
    if row is None:
        return None
    size = next(iter(row["tags"].values())).get("input_size", IMAGE_SIZE)
    layout = "planes" if row["channels_first"] else "blocks"
    return TaskLayers(
        architecture=name,
        family=row["family"],
        input_size=(3, size, size) if isinstance(size, int) else tuple(size),
        first_conv=as_paths(row["first_conv"]),
        classifier=as_paths(row["classifier"]),
        input_layout="conv" if row["input_blocks"] == 1 else f"{layout}:{row['input_blocks']}",
        may_depend_on_size=True,
    )


def known_layers() -> list[tuple[Any, ...]]:
    """`first_conv` and `classifier` of every known architecture, as in the table."""
    return _known.columns("first_conv", "classifier")
