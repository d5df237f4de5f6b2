"""What every image model answers to. A family names its steps, its head and its features; the rest is here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zoo.core.architectures.model_facts import check_num_classes, module_paths
from zoo.core.channels.mixing import check_in_chans
from zoo.core.errors import UsageError
from zoo.models.layer_groups import Pattern, layer_patterns
from zoo.models.layers.memory_order import channels_innermost, in_order_of
from zoo.models.layers.pool import GlobalPool
from zoo.models.level_indices import resolve_indices

Step = Callable[[Tensor], Tensor]
Size = tuple[int, int]
FeatureDict = dict[str, Any]


def in_sequence(modules: Sequence[nn.Module]) -> Step:
    """One step that runs the modules one after the other."""

    def run(x: Tensor) -> Tensor:
        for module in modules:
            x = module(x)
        return x

    return run


def modules_after(model: nn.Module, path: str) -> list[str]:
    """Paths of the modules registered after the one at `path`: its later siblings, and those of what it lies in."""
    after: list[str] = []
    before = ""
    for part in path.split("."):
        names = list(model.get_submodule(before.rstrip("."))._modules)
        after += [before + name for name in names[names.index(part) + 1 :]]
        before += f"{part}."
    return after


class FusedLayers(NamedTuple):
    """Module paths of the layers that read the image, and of the classifiers, where layers are joined."""

    first_conv: tuple[str, ...]
    classifier: tuple[str, ...]


class ImageModel(nn.Module):
    """Base of all families: image (N, C, H, W) -> logits (N, num_classes).

    A family's constructor takes its spec and these keywords, and sets `spec`, `num_features` (channels that reach the
    head) and `feature_info`. It implements `steps`, and where they differ from the common case `finish`, `init_module`,
    `feature_map`, `make_pool` and `make_head`. Parameters of its own, outside any module, get their initial values in
    its `reset_parameters`.

    `feature_info` has a dict for each level: `module`, the step behind which it is read, `num_chs` and `reduction`.
    Levels that are read behind one step also have a `name` of their own.
    """

    head_parts: tuple[str, ...] = ("global_pool",)
    """Modules besides the classifier that belong to the head, not to the trunk."""
    default_out_indices: int | Sequence[int] | None = None
    """The levels that `features_only` gives where none are named: as `resolve_indices`."""
    img_size: Size | None = None
    """Height and width of the images that the weights are made for; None where they do not depend on it."""
    windows: tuple[Size, ...] | None = None
    """Height and width of the windows of each stage, for attention in windows."""
    last_norm: str = ""
    """Path of the norm behind the trunk that feature maps may ask for; "" if there is none."""
    classifier_layer: ClassVar[str] = ""
    """Name of the linear layer in each classifier, if a norm belongs to it; the spec names the layer."""
    fused_layers: FusedLayers | None = None
    """Paths in a model whose branches and norms are joined; None in one as it is trained."""
    layer_prefix: ClassVar[str] = ""
    """What the paths of the trunk's parts have before their number, if it is not that of most steps."""
    no_decay: ClassVar[tuple[str, ...]] = (
        r"(?:cls|reg|dist)_token\w*", r"pos_embed(?:_\d+|_window)?", r"(?:patch|pixel)_pos", "position_embedding_table",
        "relative_position_bias_table", "attention_biases", "logit_scale", r"cpb_mlp\..*", r"pos_block\..*",
    )  # fmt: skip
    """Regular expressions for the ends of the names of parameters that are trained without weight decay."""
    feature_info: list[FeatureDict]
    pretrained_cfg: dict[str, Any]
    load_report: Any
    global_pool: Any
    num_features: int
    head_hidden_size: int

    if TYPE_CHECKING:
        # Stages are registered by name, so their types are not known here.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, *, in_chans: int = 3, num_classes: int = 1000, drop_rate: float = 0.0) -> None:
        super().__init__()
        check_in_chans(in_chans)
        check_num_classes(num_classes)
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.pretrained_cfg = {}
        self._last_step: str | None = None

    @property
    def default_cfg(self) -> dict[str, Any]:
        """The older name of `pretrained_cfg`."""
        return self.pretrained_cfg

    @default_cfg.setter
    def default_cfg(self, cfg: dict[str, Any]) -> None:
        self.pretrained_cfg = cfg

    def __new__(cls, *_arguments: Any, **keywords: Any) -> Any:
        """Keep the keywords that a model is built with, from which one of another size is built."""
        model = super().__new__(cls)
        model.__dict__["_keywords"] = keywords
        return model

    @property
    def embed_dim(self) -> int | Sequence[int]:
        """Channels of the tokens, or of each stage's; AttributeError for a family that does not state them."""
        return self.spec.embed_dim

    @property
    def is_reparameterized(self) -> bool:
        """Whether branches and norms are joined, as `zoo.reparameterize` does."""
        return self.fused_layers is not None

    @property
    def family(self) -> str:
        """The name of the family's module in `zoo.models`."""
        modules = (base.__module__ for base in type(self).__mro__)
        return next(found.rpartition(".")[2] for found in modules if found.startswith("zoo.models."))

    # ------------------------------------------------------------ what a family gives

    def steps(self) -> Iterator[tuple[str, Step]]:
        """The trunk in order of execution: (module path whose output it is, function). Features are read between steps.

        Features cut off the steps that they do not need, and what is registered behind the last that they do need: a
        module that no step names must be registered before the last module of the step that runs it.
        """
        raise NotImplementedError

    def steps_by_level(self, path: str) -> Iterator[tuple[str, Step]]:
        """The steps of a trunk that is the Sequential at `path`: one for each level of features."""
        ends = {level["module"] for level in self.feature_info}
        modules: list[nn.Module] = []
        for name, module in self.get_submodule(path).named_children():
            modules.append(module)
            if f"{path}.{name}" in ends:
                yield f"{path}.{name}", in_sequence(modules)
                modules = []

    def finish(self, x: Tensor) -> Tensor:
        """From the last step's output to what `forward_features` returns (a final norm or convolution)."""
        return x

    @property
    def pools(self) -> bool:
        """Whether there is a pooling in front of the classifier."""
        return bool(self.global_pool.pool_type)

    def before_classifier(self, x: Tensor) -> Tensor:
        """From what pooling gives to what the classifier reads (a norm, a hidden layer)."""
        return x

    def classifier_width(self, pooled: int) -> int:
        """Channels that the classifier reads, given those that pooling gives."""
        return pooled

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - the trunk may carry several tensors
        """What a level reads of what the trunk carries behind the level's step."""
        return x

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - of an image of this size
        """What a level reads as a map (N, C, H, W)."""
        return x

    def make_pool(self, pool_type: str) -> nn.Module:
        """The pooling in front of the classifier."""
        return GlobalPool(pool_type)

    def init_module(self, name: str, module: nn.Module) -> None:  # noqa: ARG002 - families decide by name
        """Give one module its initial weights; the model itself is the module ''."""
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()

    # ------------------------------------------------------------ forward

    def _kept_steps(self) -> Iterator[tuple[str, Step]]:
        for name, step in self.steps():
            yield name, step
            if name == self._last_step:
                return

    def _run(self, step: Step, x: Tensor) -> Tensor:
        if not (self.grad_checkpointing and torch.is_grad_enabled()):
            return step(x)
        for part in step if isinstance(step, nn.Sequential) else [step]:
            x = checkpoint(part, x, use_reentrant=False)
        return x

    def forward_features(self, x: Tensor) -> Tensor:
        """Image -> the map or tokens that the head reads."""
        image, x = x, channels_innermost(x)
        for _, step in self._kept_steps():
            x = self._run(step, x)
        return in_order_of(image, x if self._last_step else self.finish(x))

    def classifier_input(self, x: Any) -> Any:
        """From what `forward_features` returns to what the classifier reads, dropout left out.

        Where there are several classifiers it may be a list with a part for each.
        """
        return self.before_classifier(self.global_pool(x))

    def drop_out(self, pooled: Any) -> Any:
        """Dropout of what the classifiers read, each part by itself."""
        if not self.drop_rate:
            return pooled
        if isinstance(pooled, list):
            return [F.dropout(part, self.drop_rate, self.training) for part in pooled]
        return F.dropout(pooled, self.drop_rate, self.training)

    def embedding(self, pooled: Any) -> Tensor:
        """From what the classifiers read to the vector of an image (N, channels)."""
        return pooled

    def logits(self, pooled: Any) -> list[Tensor]:
        """The logits (N, num_classes) of each classifier: of its part of what they read, or of the one vector."""
        classifiers = [self.get_submodule(path) for path in self.classifier_paths]
        parts = pooled if isinstance(pooled, list) else [pooled] * len(classifiers)
        return [classifier(part) for classifier, part in zip(classifiers, parts, strict=True)]

    def classify(self, pooled: Any) -> Any:
        """From what the classifiers read to the logits (N, num_classes), the mean where there are several."""
        if not self.num_classes and (isinstance(pooled, list) or not self.classifier_paths):
            return self.embedding(pooled)
        first, *others = self.logits(pooled)
        return sum(others, first) / (1 + len(others)) if others else first

    def pool(self, x: Any) -> Tensor:
        """From what `forward_features` returns to the embedding (N, channels): what `num_classes=0` gives."""
        return self.embedding(self.classifier_input(x))

    def forward_head(self, x: Any, pre_logits: bool = False) -> Any:
        """Pool, drop out, classify; `pre_logits` gives the embedding instead of logits."""
        pooled = self.drop_out(self.classifier_input(x))
        return self.embedding(pooled) if pre_logits else self.classify(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    forward.__annotations__.update({"x": Tensor, "return": Tensor})  # a traced graph is pickled with these, not texts

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The feature maps at `indices` (None: all; n: the last n; a list, negative ones from the end).

        Returns `(output of the trunk, maps)`, or the maps alone with `intermediates_only`. `stop_early` runs no step
        past the last map asked for.
        """
        if output_fmt != "NCHW":
            raise UsageError(f"Feature maps of {type(self).__name__} are NCHW, {output_fmt!r} was asked for.")
        if norm:
            raise UsageError(f"{type(self).__name__} has no final norm to apply to its feature maps.")
        size = (x.shape[2], x.shape[3])
        image = x
        x, states = self._intermediates(x, indices, stop_early)
        maps = [in_order_of(image, self.feature_map(state, size, level)) for level, state in states.items()]
        if intermediates_only:
            return maps
        return in_order_of(image, x if stop_early or self._last_step else self.finish(x)), maps

    def _intermediates(
        self, x: Tensor, indices: int | Sequence[int] | None, stop_early: bool
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The output of the last step that ran, and what each level of `indices` reads, in order of the levels."""
        levels = sorted(set(resolve_indices(len(self.feature_info), indices)))
        waiting = {level: self.feature_info[level]["module"] for level in levels}
        found: dict[int, Tensor] = {}
        x = channels_innermost(x)
        for name, step in self._kept_steps():
            x = self._run(step, x)
            found |= {level: self.level_state(x, level) for level, path in waiting.items() if path == name}
            if stop_early and len(found) == len(levels):
                break
        return x, {level: found[level] for level in levels}

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] | None = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Remove the modules that no feature at `indices` needs; the trunk then ends at the last of them.

        The final norm, which feature maps may ask for, stays unless `prune_norm`.

        Returns the indices as non-negative numbers.
        """
        kept = resolve_indices(len(self.feature_info), indices)
        order = [path for path, _ in self._kept_steps()]
        last = max(order.index(self.feature_info[level]["module"]) for level in kept)
        self._last_step = order[last]
        head = {*self.head_parts, *(path.partition(".")[0] for path in self.classifier_paths)}
        needed = [f"{path}." for path in order[: last + 1]]
        removed = {*modules_after(self, self._last_step), *order[last + 1 :]}
        for path in sorted(removed, reverse=True):  # what lies in a module before the module
            if path == self.last_norm and not prune_norm:
                continue
            if not any(step.startswith(f"{path}.") for step in needed) and (prune_head or path not in head):
                parent, _, name = path.rpartition(".")
                delattr(self.get_submodule(parent), name)
        return kept

    # ------------------------------------------------------------ head

    def check_head(self, global_pool: str) -> None:
        """Raises UsageError for a classifier without pooling."""
        if not global_pool and self.num_classes:
            raise UsageError("Pooling can be left out only together with the classifier: num_classes=0.")

    def make_head(self, global_pool: str) -> None:
        """Create pooling and classifier for `num_classes`; 0 classes leave an identity.

        A path of several parts puts the classifier into the module of the first, which is created if need be.
        """
        self.check_head(global_pool)
        self.global_pool = self.make_pool(global_pool)
        self.head_hidden_size = self.classifier_width(self.num_features * self.global_pool.feature_multiplier)
        for path in self.classifier_paths:
            container, dot, _ = path.partition(".")
            if dot and not hasattr(self, container):
                self.add_module(container, nn.Module())  # it holds the classifier's key, nothing runs it
            self.set_submodule(path, self.make_classifier())

    def make_classifier(self) -> nn.Module:
        """One new classifier for what the pooling gives."""
        return nn.Linear(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()

    @property
    def classifier_paths(self) -> tuple[str, ...]:
        """Module paths of the classifiers: one, or several for a family that has them."""
        if self.fused_layers is not None:
            return self.fused_layers.classifier
        stated = module_paths(self.spec.classifier)
        return tuple(path.removesuffix(f".{self.classifier_layer}") for path in stated)

    def get_classifier(self) -> Any:
        """The classifier; the tuple of them where there are several."""
        found = tuple(map(self.get_submodule, self.classifier_paths))
        return found[0] if len(found) == 1 else found

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one, freshly initialised (None keeps the pooling)."""
        check_num_classes(num_classes)
        self.num_classes = num_classes
        like = next(self.parameters())
        self.make_head(self.global_pool.pool_type if global_pool is None else global_pool)
        for path in self.classifier_paths:
            classifier = self.get_submodule(path).to(device=like.device, dtype=like.dtype).train(self.training)
            if not like.is_meta:
                self.init_below(classifier, path)

    # ------------------------------------------------------------ image size

    def set_input_size(
        self, img_size: int | Size | None = None, patch_size: int | Size | None = None, **sizes: Any
    ) -> None:
        """Make the model one for images of another size; weights that depend on it are resized as in loading.

        Args:
            img_size: height and width of the images, or the side of a square; None keeps it.
            patch_size: height and width of a patch, or its side; None keeps it.
            sizes: other fields of the spec or keywords of the family that go with the size, such as `window_size`.

        Raises:
            UsageError: the model takes images of any size, or not of this one.
            TypeError: the family has no such size.
        """
        from zoo.models.input_size import resized_model

        given = {"img_size": img_size, "patch_size": patch_size, **sizes}
        self.__dict__ = resized_model(self, {name: size for name, size in given.items() if size is not None}).__dict__

    def sizes_for(self, sizes: dict[str, Any]) -> dict[str, Any]:
        """What else of the spec changes with these sizes: them and, in a family with windows, those that follow."""
        return sizes

    # ------------------------------------------------------------ training

    def group_matcher(self, coarse: bool = False) -> dict[str, Pattern]:
        """Regular expressions that sort the parameters' names into layers: for learning rates that decay with depth.

        Args:
            coarse: one group for each stage, not one for each block.
        """
        containers = (path.partition(".")[0] for path in self.classifier_paths if "." in path)
        head = [*self.head_parts, *self.classifier_paths, *containers]
        return layer_patterns(self, [path for path, _ in self.steps()], self.layer_prefix, head, coarse)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that are trained without weight decay: tokens, positions, scales of attention."""
        kept = re.compile(rf"(?:.*\.)?(?:{'|'.join(self.no_decay)})")
        return {name for name, _ in self.named_parameters() if kept.fullmatch(name)}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: recompute each block's activations in the backward pass."""
        self.grad_checkpointing = enable

    def init_weights(self) -> None:
        """Give every parameter and statistic its initial value, parts before the whole they belong to."""
        self.init_below(self, "")

    @torch.no_grad()
    def init_below(self, module: nn.Module, path: str) -> None:
        """As `init_weights`, for a part of the model at this path."""
        for name, part in reversed(list(module.named_modules(prefix=path))):
            self.init_module(name, part)
