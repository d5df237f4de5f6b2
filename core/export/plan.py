"""What an export computes and how it is divided: everything that determines the bytes on disk. Standard library only.

The inputs are divided into shards, fixed slices of `images_per_shard`: which input is in which shard depends neither on
the batch size, nor on failures, nor on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from zoo.core.errors import UsageError
from zoo.core.images.inputs.image_input import ImageInput

SCHEMA_VERSION = 2
"""Version of config.json and the manifest, increased when a key or a file changes its meaning."""

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Name of a stored dtype -> its safetensors name. Features are float32, rounded to nearest even."""

POOLS = ("none", "avg", "max", "cls", "embedding", "logits")
"""Maps; their average, maximum or class token per level; or a vector per image: what the classifier reads, or gives."""

WHOLE_MODEL = ("embedding", "logits")
"""The pools that take the whole model, not its levels."""

RUNTIMES = ("torch", "onnxruntime", "openvino", "auto")
"""What runs the model; "auto" decides by what is installed and the number of images."""

SHARD_BYTES = 64 * 2**20
MAX_IMAGES_PER_SHARD = 1024

_FILE_NAME_PART = re.compile(r"\w[\w.]*", re.ASCII)
_DIFFERENCES_TOLD = 4


@dataclass(frozen=True)
class Level:
    """One map per image: its module, its size, and its stride relative to the input in pixels.

    If one module gives several levels, each has its own `name`. Vectors of the whole model have neither index nor
    stride.
    """

    index: int | None
    module: str
    channels: int
    height: int
    width: int
    stride: int | None
    name: str = ""

    @property
    def key(self) -> str:
        """The name of the level's features where they are stored."""
        return self.name or self.module

    def to_dict(self) -> dict[str, Any]:
        """The level as plain values; without the name if it is the module's."""
        return {field: value for field, value in asdict(self).items() if field != "name" or value}


class FeatureStorage(NamedTuple):
    """How to store features: `dtype` of DTYPES, `pool` of POOLS (`none` for maps), `format` of `writers.WRITERS`."""

    dtype: str = "float32"
    pool: str = "none"
    format: str = "safetensors"

    def shape(self, level: Level) -> tuple[int, ...]:
        """The shape of one image's features: (channels, height, width), or (channels,) if pooled."""
        return (level.channels,) if self.pool != "none" else (level.channels, level.height, level.width)

    def fitting_images_per_shard(self, levels: Iterable[Level]) -> int:
        """The number of images with 64 MiB of features, at most 1024."""
        values = sum(math.prod(self.shape(level)) for level in levels)
        return max(1, min(SHARD_BYTES // ((4 if self.dtype == "float32" else 2) * values), MAX_IMAGES_PER_SHARD))


DEFAULT_STORAGE = FeatureStorage()


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """The plan of an export; two runs with the same plan write the same files.

    Args:
        inputs: what is read, in the order of the manifest.
        levels: levels of an image of the configured size.
        images_per_shard: number of inputs per shard.
        model: architecture, tag, weights and their sha256...
        preprocessing: settings of the transform, as plain values.
        storage: how to store features.
        placed: whether each image's place on the ground is stored with its features.

    Raises UsageError for invalid values.
    """

    inputs: Sequence[ImageInput]
    levels: tuple[Level, ...]
    images_per_shard: int
    model: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    storage: FeatureStorage = DEFAULT_STORAGE
    placed: bool = False

    def __post_init__(self) -> None:
        if self.images_per_shard < 1:
            raise UsageError(f"A shard has 1 or more images, not {self.images_per_shard}.")
        if self.storage.dtype not in DTYPES:
            raise UsageError(f"Features are stored as {', '.join(DTYPES)}, not {self.storage.dtype!r}.")
        if self.storage.pool not in POOLS:
            raise UsageError(f"Pooling is one of {', '.join(POOLS)}, not {self.storage.pool!r}.")
        keys = [level.key for level in self.levels]
        for key in keys:
            # Keys name tensors, and in some formats files.
            if not _FILE_NAME_PART.fullmatch(key) or keys.count(key) > 1:
                raise UsageError(f"A level needs a name of its own, of letters, digits and dots, not {key!r}.")

    @property
    def num_shards(self) -> int:
        return -(-len(self.inputs) // self.images_per_shard)

    def positions(self, shard: int) -> range:
        """The positions of the inputs in a shard."""
        start = shard * self.images_per_shard
        return range(start, min(start + self.images_per_shard, len(self.inputs)))

    def source_of(self, item: ImageInput) -> str:
        """The name of an input's file in the manifest: as given, or relative to the folder that contains all inputs."""
        root = getattr(self.inputs, "root", "")
        return item.source.removeprefix(root.rstrip("/") + "/") if root else item.source

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of config.json: the whole plan, and its fingerprint."""
        settings = {
            "schema_version": SCHEMA_VERSION,
            "model": dict(self.model),
            "out_indices": [level.index for level in self.levels if level.index is not None],
            "levels": [level.to_dict() for level in self.levels],
            **self.storage._asdict(),
            **({"placed": True} if self.placed else {}),
            "preprocessing": dict(self.preprocessing),
            "images_per_shard": self.images_per_shard,
            "inputs": {"count": len(self.inputs), "sha256": _digest(self.inputs)},
        }
        # Convert to what is read back: tuples become lists.
        settings = json.loads(json.dumps(settings))
        text = json.dumps(settings, sort_keys=True)
        return {"fingerprint": hashlib.sha256(text.encode()).hexdigest(), **settings}

    @property
    def fingerprint(self) -> str:
        """A digest of everything that determines the bytes on disk."""
        return str(self.config["fingerprint"])


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The differences between two configs, as one phrase with both values."""
    old, new = ({k: v for k, v in _leaves(config).items() if k != "fingerprint"} for config in (there, here))
    found = [
        f"{key} is {_shown(old.get(key))} there and {_shown(new.get(key))} here"
        for key in dict.fromkeys([*new, *old])
        if old.get(key) != new.get(key)
    ]
    told = found[:_DIFFERENCES_TOLD]
    return "; ".join(told if len(told) == len(found) else [*told, f"and {len(found) - len(told)} more"])


def _leaves(value: object, path: str = "") -> dict[str, Any]:
    """Values of a nested mapping by path, such as `model.weights.sha256`."""
    if not isinstance(value, Mapping):
        return {path: value}
    return {leaf: v for key, item in value.items() for leaf, v in _leaves(item, f"{path}.{key}".lstrip(".")).items()}


def _shown(value: object) -> str:
    text = "absent" if value is None else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _digest(inputs: Sequence[ImageInput]) -> str:
    """A digest of all ids and sources; a list on disk knows its own."""
    known = getattr(inputs, "sha256", None)
    if isinstance(known, str):
        return known
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(f"{item.id}\0{item.source}\0".encode(errors="surrogatepass"))
    return digest.hexdigest()
