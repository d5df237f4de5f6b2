"""From a name to a model."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from zoo.core.architectures import registry
from zoo.core.architectures.hub_names import plain_name
from zoo.core.architectures.new_classifier import initial_values
from zoo.core.architectures.records import PretrainedCfg, module_paths
from zoo.core.errors import UsageError
from zoo.core.files.open_weights import file_configuration
from zoo.core.files.weight_folder import existing_weight_file
from zoo.core.metadata.stated import adapted_cfg, configured, stated_image_size, with_image_size
from zoo.core.model.features import FeatureHookNet, FeatureListNet
from zoo.core.model.load import load_checkpoint, load_pretrained, materialize
from zoo.core.model.named_model import named_cfg, names_a_place
from zoo.core.resize.families import require_size_dependent
from zoo.models.base import ImageModel

FEATURE_CLASSES = {"list": FeatureListNet, "hook": FeatureHookNet}


def create_model(
    model_name: str,
    pretrained: bool = False,
    pretrained_cfg: str | Mapping[str, Any] | None = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    checkpoint_path: str | Path | None = None,
    *,
    in_chans: int | None = None,
    num_classes: int | None = None,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    feature_cls: str = "list",
    allow_missing: Sequence[str] = (),
    source_size: tuple[int, int] | None = None,
    drop: Sequence[str] = (),
    checkpoint_key: str = "",
    seed: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **overrides: Any,
) -> Any:
    """Build a model by name, with random or pretrained weights.

    Args:
        model_name: `name`, `name.tag` or `timm/name.tag`; an old name warns. `hf-hub:owner/repo` or `local-dir:folder`
            is what the config.json there says, its `model_args` included.
        pretrained: load the default config's weights, adapted to `in_chans` and, where `num_classes` differs from
            theirs, with a new classifier.
        pretrained_cfg: another tag, or a config of the caller's own.
        pretrained_cfg_overlay: values that replace those of the config, e.g. `{"file": "weights.safetensors"}`.
        checkpoint_path: a weight file of any kind to load instead; it is adapted to `in_chans` too.
        in_chans: channels of the image (default: the config's).
        num_classes: outputs of the classifier (default: the config's); 0 leaves it out.
        features_only: return a net that gives feature maps; `out_indices` chooses the levels, negative ones from the
            end, `feature_cls` "list" runs only what is needed, "hook" reads modules with hooks.
        allow_missing: wildcards of state-dict keys that a checkpoint may lack; they keep their initial values.
        drop: wildcards of tensors of `checkpoint_path` that are left out.
        source_size: height and width in pixels of the images that the weight file is for, where it does not say so
            itself. The model is built for them too, unless `img_size` is given.
        checkpoint_key: where in `checkpoint_path` the state dict is, with dots between the keys; "" finds it.
        seed: of the random initial weights; None leaves torch's generator as it is. A classifier that the weights lack
            gets the values that `new_classifier` gives for this seed, as in a file that was adapted.
        overrides: constructor keywords (`global_pool`, `drop_rate`, `drop_path_rate`, `output_stride`...) or fields
            of the family's spec; None means the default.

    Raises:
        UnknownModelError: no such model. NotFoundError: no such tag, or no weights to be had.
        TypeError: an unknown keyword; the message names the nearest one.
        InvalidInputError: the weights do not fit the model.
    """
    overrides = {key: value for key, value in overrides.items() if value is not None}
    model_name, place_args = plain_name(model_name), {}
    if names_a_place(model_name) and pretrained_cfg is None:
        pretrained_cfg = named_cfg(model_name)
        model_name, place_args = pretrained_cfg.architecture, dict(pretrained_cfg.model_args)
    name, tag = registry.resolve_name(model_name)
    user_model = registry.user_model(name)
    if user_model is not None:
        given = {"in_chans": in_chans, "num_classes": num_classes, "out_indices": out_indices, **overrides}
        if features_only:
            given["features_only"] = True
        model = user_model(pretrained=pretrained, **{k: v for k, v in given.items() if v is not None})
        if checkpoint_path is not None:
            load_checkpoint(
                model,
                checkpoint_path,
                allow_missing=allow_missing,
                drop=drop,
                source_size=source_size,
                key=checkpoint_key,
            )
        return model

    cfg = _resolve_cfg(name, tag, pretrained_cfg, pretrained_cfg_overlay)
    if source_size is not None:
        require_size_dependent(registry.find_spec(name)[0], name)
        if not (checkpoint_path or (pretrained and cfg.file)):
            raise UsageError("The source's size is said of a weight file.", hint="Name the file (checkpoint_path).")
    weights_path = checkpoint_path or (cfg.file if pretrained else "")
    stated: Mapping[str, Any] = {}
    if weights_path:
        weights_path = existing_weight_file(Path(weights_path).expanduser())
        found = file_configuration(weights_path, name, key=checkpoint_key)
        stated = with_image_size(found, source_size, str(weights_path))
    cfg = configured(cfg, stated)
    channels = cfg.input_size[0] if in_chans is None else in_chans
    classes = cfg.num_classes if num_classes is None else num_classes
    source_size = stated_image_size(dict(cfg.model_args))
    if pretrained or stated:
        overrides = {**dict(cfg.model_args), **overrides}
    overrides = {**place_args, **overrides}
    if cfg.fixed_input_size and "img_size" in _options(name):
        overrides = {"img_size": cfg.input_size[1:], **overrides}
    with torch.device("meta"):
        model = _construct(name, {"in_chans": channels, "num_classes": classes, **overrides})
    model.pretrained_cfg = adapted_cfg(_sized_cfg(cfg, overrides.get("img_size")), channels).to_dict()

    if dtype is not None:
        model.to(dtype)
    if seed is not None:
        torch.manual_seed(seed)
    if features_only and feature_cls not in FEATURE_CLASSES:
        raise UsageError(f"feature_cls must be 'list' or 'hook', found {feature_cls!r}.")
    if not (pretrained or checkpoint_path):
        if torch.device(device or "cpu").type != "meta":
            materialize(model)
        model.to(device)
        return FEATURE_CLASSES[feature_cls](model, out_indices) if features_only else model

    # What the features do not need is cut off before loading: a file of the trunk alone is enough.
    not_needed: set[str] = set()
    if features_only:
        whole = set(model.state_dict())
        model = FEATURE_CLASSES[feature_cls](model, out_indices)
        not_needed = whole - set(model.state_dict())
    if checkpoint_path is not None:
        load_checkpoint(
            model,
            weights_path,
            allow_missing=allow_missing,
            drop=drop,
            new_classifier=num_classes is not None,
            not_needed=not_needed,
            img_size=cfg.input_size[1:],
            source_size=source_size,
            key=checkpoint_key,
        )
    else:
        registry.require_weights(cfg)
        load_pretrained(model, cfg, allow_missing=allow_missing, not_needed=not_needed, source_size=source_size)
    if seed is not None:
        initialise_classifier(model, model.load_report.initialised, seed)
    model.to(device)
    return model


@torch.no_grad()
def initialise_classifier(model: ImageModel, names: Collection[str], seed: int) -> None:
    """Give those of a model's tensors that are its classifier's the values of a new one (`new_classifier`).

    Args:
        names: of the tensors that the weights had no values for.
        seed: of the values, 0 to 2^64 - 1.
    """
    found = model.state_dict()
    for path in module_paths(model.spec.classifier):
        weight = found.get(f"{path}.weight")
        for name in {f"{path}.weight", f"{path}.bias"}.intersection(names, found):
            assert weight is not None  # a classifier has one, and its bias follows from it
            blocks = initial_values(name, weight.shape, model.spec.classifier_init, seed)
            values = [torch.frombuffer(block, dtype=torch.float32) for block in blocks]
            found[name].copy_(torch.cat(values).reshape(found[name].shape))


def _resolve_cfg(
    name: str, tag: str, given: str | Mapping[str, Any] | None, overlay: Mapping[str, Any] | None
) -> PretrainedCfg:
    if isinstance(given, PretrainedCfg):
        cfg = given
    elif isinstance(given, Mapping):
        cfg = PretrainedCfg.from_mapping({"architecture": name, **given})
    else:
        found = registry.get_pretrained_cfg(f"{name}.{given or tag}".rstrip("."), allow_unregistered=False)
        assert found is not None  # built-in models have at least one config
        cfg = found
    if overlay:
        known = {f.name for f in fields(PretrainedCfg)}
        for key in overlay:
            if key not in known:
                raise TypeError(f"A pretrained config has no entry {key!r}{_nearest(key, known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in overlay.items()}
        if isinstance(values.get("file"), Path):
            values["file"] = str(values["file"])
        cfg = replace(cfg, **values)
    return cfg


def _sized_cfg(cfg: PretrainedCfg, img_size: Any) -> PretrainedCfg:
    """The config of a model that was built for images of another size than its weights."""
    if img_size is None:
        return cfg
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if (height, width) == cfg.input_size[1:]:
        return cfg
    return replace(cfg, input_size=(cfg.input_size[0], height, width), test_input_size=None, test_crop_pct=None)


def _options(name: str) -> set[str]:
    """The keywords that a model takes: those of its class and the fields of its spec."""
    family, spec = registry.find_spec(name)
    model_class = getattr(import_module(f"zoo.models.{family}"), spec.model_class)
    parameters = set(inspect.signature(model_class).parameters) - {"spec"}
    return parameters | {f.name for f in fields(spec)} - {"pruned"}


def _construct(name: str, arguments: Mapping[str, Any]) -> ImageModel:
    family, spec = registry.find_spec(name)
    model_class = getattr(import_module(f"zoo.models.{family}"), spec.model_class)
    options = _options(name)
    for key in arguments:
        if key not in options:
            raise TypeError(f"{name} has no option {key!r}{_nearest(key, options)}")
    spec_fields = {f.name for f in fields(spec)}
    changes: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items() if k in spec_fields
    }
    given = {k: v for k, v in arguments.items() if k not in spec_fields}
    model: ImageModel = model_class(replace(spec, **changes), **given)
    if spec.pruned:
        resize_channels(model, _pruned_channels()[name])
        _remeasure_features(model)
    return model


def _nearest(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}."


@cache
def _pruned_channels() -> dict[str, dict[str, list[int]]]:
    path = Path(__file__).with_name("configs") / "pruned.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def resize_channels(model: nn.Module, channels: Mapping[str, Sequence[int]]) -> None:
    """Give convolutions, batch norms and linear layers the channel counts of a pruned network.

    Args:
        model: on the meta device; its layers are replaced, not sliced.
        channels: module path -> [in, out] of a convolution or linear layer, [channels] of a norm. A layer that the
            model was built without (its classifier) is passed over.
    """
    for path, counts in channels.items():
        module = model.get_submodule(path)
        if isinstance(module, nn.Conv2d):
            module.in_channels, module.out_channels = counts[0], counts[1]
            module.groups = module.groups if module.groups == 1 else counts[0]
            module.weight = nn.Parameter(
                module.weight.new_empty((counts[1], counts[0] // module.groups, *module.kernel_size))
            )
            if module.bias is not None:
                module.bias = nn.Parameter(module.bias.new_empty(counts[1]))
        elif isinstance(module, nn.Linear):
            module.in_features = counts[0]
            module.weight = nn.Parameter(module.weight.new_empty((module.out_features, counts[0])))
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = counts[0]
            for name, value in [*module._parameters.items(), *module._buffers.items()]:
                if value is not None and value.ndim:
                    empty = value.new_empty(counts[0])
                    setattr(module, name, nn.Parameter(empty) if isinstance(value, nn.Parameter) else empty)
        elif not isinstance(module, nn.Identity):
            raise UsageError(f"{path} is a {type(module).__name__}, which pruning does not know.")


def _remeasure_features(model: ImageModel) -> None:
    """Channel counts of the levels and of the head's input, from a run on the meta device."""
    trunk, maps = model.forward_intermediates(torch.empty(1, model.in_chans, 64, 64))
    for level, feature_map in zip(model.feature_info, maps, strict=True):
        level["num_chs"] = feature_map.shape[1]
    model.num_features = trunk.shape[1]
    model.head_hidden_size = model.num_features * model.global_pool.feature_multiplier
