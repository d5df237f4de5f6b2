"""Facts about models and weights as typed, immutable rows. Standard library only."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, NamedTuple

from zoo.core.architectures.family_facts import SizedTensors as SizedTensors
from zoo.core.architectures.family_facts import SizeFacts as SizeFacts
from zoo.core.architectures.model_facts import CROP_PCT, IMAGE_SIZE, INTERPOLATION, LICENSE, NUM_CLASSES, Paths
from zoo.core.architectures.model_facts import module_paths as module_paths
from zoo.core.errors import UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClassifierInit(NamedTuple):
    """The distribution of a new classifier's weights.

    Args:
        kind: "normal" with `deviation`; "inputs": uniform within one over the root of the number of inputs; "classes":
            the same with the number of classes.
        zero_bias: whether the bias is zero; otherwise it is uniform within one over the root of the number of inputs.
    """

    kind: Literal["normal", "inputs", "classes"] = "inputs"
    deviation: float = 0.0
    zero_bias: bool = True


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What distinguishes one variant of a family from the others; the model class is built from it.

    A family subclasses it with its own fields and names the class in `zoo.models.<family>` that builds it.
    `create_model` can override a field with a plain value by name.
    """

    model_class: ClassVar[str]
    classifier: ClassVar[Paths] = "head"
    """Module path of the classifier, or of several; None for a network without."""
    total_stride: ClassVar[int | None] = 32
    """Pixels per cell of the last map; None if no pool size follows from it."""
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit(zero_bias=False)
    """The initialisation in the family's model; by default that of torch for a linear layer."""
    sizes: ClassVar[SizeFacts] = SizeFacts()
    """How the family's tensors depend on the image and the patch size."""
    small_size: ClassVar[int] = 64
    """Side in pixels of a small image that every variant takes, or can be built for."""
    is_padded: ClassVar[bool] = True
    """Whether a map has a cell for every `reduction` pixels; without padding it has fewer."""

    has_inference_mode: ClassVar[bool] = False
    """Whether timm has an argument of this name for the form for inference; else it makes that of the other form."""
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Field -> the strings it may hold."""

    pruned: bool = False
    """Channel counts come from core/architectures/configs/pruned.json instead of the formula."""

    def __post_init__(self) -> None:
        for name, known in self.choices.items():
            if getattr(self, name) not in known:
                expected = ", ".join(map(repr, known))
                raise UsageError(f"{name} must be one of {expected}, found {getattr(self, name)!r}.")

    @property
    def first_conv(self) -> str | tuple[str, ...]:
        """Module path of the layer (or layers) that reads the image."""
        raise NotImplementedError

    @property
    def input_layout(self) -> str:
        """The channel layout of that layer's weight, as `core.channels.input_layers.InputLayout` parses it."""
        return "conv"

    @property
    def embeds_prefix(self) -> bool | None:
        """Whether prefix tokens have positions of their own; None if there are no prefix tokens."""
        return None


class Weights(NamedTuple):
    """One pretrained tag of a family's WEIGHTS table; it states only what differs from the common case.

    `hub_id=None` means the derived `timm/<name>.<tag>`; an empty string means that the weights are not on the Hub.
    `package` is `<import name>:<file>` of an installed Python package that ships the checkpoint. `model_args` are the
    spec fields, as (name, value), in which the model of these weights differs from the untrained one.
    """

    url: str = ""
    hub_id: str | None = None
    hub_file: str = ""
    package: str = ""
    key_layout: str = ""
    sha256: str = ""
    input_size: int | tuple[int, int, int] = IMAGE_SIZE
    test_input_size: int | tuple[int, int, int] | None = None
    min_input_size: int | tuple[int, int, int] | None = None
    fixed_input_size: bool = False
    interpolation: str = INTERPOLATION
    crop_pct: float = CROP_PCT
    test_crop_pct: float | None = None
    crop_mode: str = "center"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    num_classes: int = NUM_CLASSES
    pool_size: tuple[int, int] | None = None
    first_conv: str | tuple[str, ...] | None = None
    classifier: str | None = None
    license: str | None = LICENSE
    origin_url: str = ""
    paper_ids: str = ""
    paper_name: str = ""
    notes: tuple[str, ...] = ()
    custom_load: bool | str = False
    model_args: tuple[tuple[str, Any], ...] = ()

    def but(self, **changes: Any) -> Weights:
        """A copy of this row with some fields changed, so that a table writes shared values once."""
        return self._replace(**changes)


@dataclass(frozen=True, kw_only=True)
class PretrainedCfg(Mapping[str, Any]):
    """The default config of one `name.tag`: where its weights are and how to prepare its input.

    It is also a mapping (`cfg["mean"]`), with the keys of timm's `pretrained_cfg`. Sizes are (channels, height, width)
    in pixels; mean and std are per channel on a 0..1 scale.
    """

    architecture: str = ""
    tag: str = ""
    url: str = ""
    file: str = ""
    hf_hub_id: str = ""
    hf_hub_filename: str = ""
    package: str = ""
    key_layout: str = ""
    sha256: str = ""
    custom_load: bool | str = False
    input_size: tuple[int, int, int] = (3, 224, 224)
    test_input_size: tuple[int, int, int] | None = None
    min_input_size: tuple[int, int, int] | None = None
    fixed_input_size: bool = False
    interpolation: str = INTERPOLATION
    crop_pct: float = CROP_PCT
    test_crop_pct: float | None = None
    crop_mode: str = "center"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    num_classes: int = NUM_CLASSES
    pool_size: tuple[int, int] | None = None
    first_conv: str | tuple[str, ...] | None = None
    classifier: str | tuple[str, ...] | None = None
    license: str | None = None
    origin_url: str = ""
    paper_ids: str = ""
    paper_name: str = ""
    notes: tuple[str, ...] = ()
    model_args: tuple[tuple[str, Any], ...] = ()
    state_dict: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls))

    @property
    def name(self) -> str:
        """`architecture.tag`, or the architecture alone if there is no tag."""
        return f"{self.architecture}.{self.tag}" if self.tag else self.architecture

    @property
    def has_weights(self) -> bool:
        """Whether this config names any source of weights."""
        return bool(self.file or self.package or self.hf_hub_id or self.url or self.state_dict is not None)

    def to_dict(self) -> dict[str, Any]:
        """A plain dict that the caller may change."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "state_dict"}
        if self.state_dict is not None:
            values["state_dict"] = self.state_dict
        return values

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> PretrainedCfg:
        """Read a config from a user or a `config.json`; lists become tuples, unknown keys are ignored."""
        known: dict[str, Any] = {}
        for f in fields(cls):
            if f.name in values and values[f.name] is not None:
                value = values[f.name]
                known[f.name] = tuple(value) if isinstance(value, list) else value
        return cls(**known)


@dataclass
class DefaultCfg:
    """The default configs of one architecture by tag, the default tag first: as published model files keep them."""

    tags: deque[str] = field(default_factory=deque)
    cfgs: dict[str, PretrainedCfg] = field(default_factory=dict)
    is_pretrained: bool = False

    @property
    def default(self) -> PretrainedCfg:
        """The config of the default tag."""
        return self.cfgs[self.tags[0]]

    @property
    def default_with_tag(self) -> tuple[str, PretrainedCfg]:
        """The default tag and its config."""
        return self.tags[0], self.default


def generate_default_cfgs(cfgs: Mapping[str, Mapping[str, Any]]) -> dict[str, DefaultCfg]:
    """Sort configs by architecture: `name.tag` -> config becomes name -> DefaultCfg.

    The default tag is the first that a name has weights for, or one that ends in `*`; without weights it is the first.
    """
    found: dict[str, DefaultCfg] = {}
    for full_name, values in cfgs.items():
        name, _, tag = full_name.partition(".")
        chosen, tag = tag.endswith("*"), tag.rstrip("*")
        cfg = values if isinstance(values, PretrainedCfg) else PretrainedCfg.from_mapping(values)
        entry = found.setdefault(name, DefaultCfg())
        first = chosen or (cfg.has_weights and not entry.is_pretrained)
        (entry.tags.appendleft if first else entry.tags.append)(tag)
        entry.is_pretrained = entry.is_pretrained or cfg.has_weights
        entry.cfgs[tag] = replace(cfg, architecture=name, tag=tag)
    return found
