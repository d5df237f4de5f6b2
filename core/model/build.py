"""Build a model from its name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.core.architectures import registry
from zoo.core.architectures.hub_names import plain_name
from zoo.core.architectures.new_classifier import initial_values
from zoo.core.architectures.records import PretrainedCfg, Spec, module_paths
from zoo.core.errors import InvalidInputError, UnknownArgumentError, UnknownOptionError, UsageError, ZooError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.user_folders import downloads_in
from zoo.core.files.weight_folder import existing_weight_file
from zoo.core.metadata.stated import adapted_cfg, stated_image_size
from zoo.core.model.features import FEATURE_CLASSES, FeatureNet
from zoo.core.model.file_cfg import cfg_of_file
from zoo.core.model.layer_options import with_names_of_layers
from zoo.core.model.load import load_checkpoint, load_pretrained, materialize
from zoo.core.model.named_model import named_cfg, names_a_place
from zoo.core.model.prune import prune
from zoo.core.model.reparameterize import form_of, reparameterize
from zoo.core.resize.rules import require_size_dependent
from zoo.models.base import ImageModel

_EXPORT_SWITCHES = ("exportable", "scriptable", "no_jit")


def create_model(
    model_name: str,
    pretrained: bool = False,
    pretrained_cfg: str | Mapping[str, Any] | None = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    checkpoint_path: str | Path | None = None,
    cache_dir: str | Path | None = None,
    *,
    in_chans: int | None = None,
    num_classes: int | None = None,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    feature_cls: str | type[FeatureNet] = "list",
    allow_missing: Sequence[str] = (),
    source_size: tuple[int, int] | None = None,
    drop: Sequence[str] = (),
    checkpoint_key: str = "",
    seed: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    reparameterized: bool = False,
    **overrides: Any,
) -> Any:
    """Build a model by name, with random or pretrained weights.

    Args:
        model_name: `name`, `name.tag` or `timm/name.tag`; an old name warns. `hf-hub:owner/repo` or `local-dir:folder`
            builds what the config.json there describes, including its `model_args`.
        pretrained: load the default config's weights, adapted to `in_chans`, and with a new classifier if `num_classes`
            differs from theirs.
        pretrained_cfg: a different tag, or the caller's own config.
        pretrained_cfg_overlay: values that replace those of the config, e.g. `{"file": "weights.safetensors"}`.
        checkpoint_path: a weight file of any kind to load instead; it is adapted to `in_chans` too. Its channels and
            classes, as it states them or its tensors show them, are the model's where `in_chans` and `num_classes` are
            not given.
        cache_dir: the folder for what must be downloaded, instead of huggingface_hub's and torch.hub's caches.
        in_chans: channels of the image (default: the config's).
        num_classes: outputs of the classifier (default: the config's); 0 leaves it out.
        features_only: return a net that gives feature maps. `out_indices` chooses the levels, negative ones from the
            end. `feature_cls` "list" runs only what is needed, "dict" gives the maps by name, "getter" takes `norm`,
            "hook" reads modules with hooks, "fx" runs a traced graph.
        allow_missing: wildcards for state-dict keys that a checkpoint may lack; they keep their initial values.
        drop: wildcards for tensors of `checkpoint_path` to leave out.
        source_size: height and width in pixels of the images that the weight file is for, if it does not say so itself.
            The model is built for this size too, unless `img_size` is given.
        checkpoint_key: path of the state dict in `checkpoint_path`, keys joined by dots; "" finds it.
        seed: seed for the random initial weights; None leaves torch's generator alone. A classifier that the weights
            lack gets the values that `new_classifier` gives for this seed, as in an adapted file.
        reparameterized: return the form for inference, in evaluation mode (`zoo.reparameterize`). A weight file may be
            of either form; one of this form makes it such a model anyway.
        overrides: constructor keywords (`global_pool`, `drop_rate`, `drop_path_rate`, `output_stride`...) or fields of
            the family's spec; None means the default. A layer is chosen by its name ("silu") or class (`nn.SiLU`).
            timm's switches `exportable`, `scriptable` and `no_jit` change nothing: every network can be traced and
            exported as it is.

    Raises:
        UnknownModelError: no such model. NotFoundError: no such tag, or the weights are unavailable.
        UnknownOptionError: an unknown keyword (a TypeError); the message names the nearest one.
        UnknownArgumentError: a config or file states one (a TypeError too).
        InvalidInputError: the weights do not fit the model.
        UsageError: `reparameterized` for a model without such a form.
    """
    overrides = {k: v for k, v in overrides.items() if v is not None and k not in _EXPORT_SWITCHES}
    load_own = partial(load_checkpoint, allow_missing=allow_missing, drop=drop, key=checkpoint_key)

    # The name.
    model_name, model_args = plain_name(model_name), {}
    if names_a_place(model_name) and pretrained_cfg is None:
        with downloads_in(cache_dir):
            pretrained_cfg = named_cfg(model_name)
        model_name, model_args = pretrained_cfg.architecture, dict(pretrained_cfg.model_args)
    name, tag = registry.resolve_name(model_name)
    user_model = registry.user_model(name)
    if user_model is not None:
        given = {"in_chans": in_chans, "num_classes": num_classes, "out_indices": out_indices, **overrides}
        given["features_only"] = features_only or None
        with downloads_in(cache_dir):
            model = user_model(pretrained=pretrained, **{k: v for k, v in given.items() if v is not None})
        if checkpoint_path is not None:
            load_own(model, checkpoint_path, source_size=source_size)
        return model

    # The config, overridden by what the weight file states.
    cfg = _choose_cfg(name, tag, pretrained_cfg, pretrained_cfg_overlay)
    path = checkpoint_path or (cfg.file if pretrained else "")
    stated: Mapping[str, Any] = {}
    if source_size is not None:
        _require_use_of_size(name, path)
    if path:
        path = existing_weight_file(Path(path).expanduser())
        with open_weights(path, key=checkpoint_key) as opened:
            # A config describes the tensors of its own file.
            own = {} if checkpoint_path is None else opened.tensors
            kept = {key: one for key, one in own.items() if not any(fnmatchcase(key, pattern) for pattern in drop)}
            cfg, stated = cfg_of_file(cfg, name, kept, opened.metadata, str(path), source_size)
    if pretrained or stated:
        model_args |= dict(cfg.model_args)
    source_size = stated_image_size(dict(cfg.model_args))

    # The model, without values.
    channels = cfg.input_size[0] if in_chans is None else in_chans
    classes = cfg.num_classes if num_classes is None else num_classes
    if registry.fused_layers(name) is not None:  # timm's name for the form, where timm has one
        reparameterized = bool({**model_args, **overrides}.get("inference_mode", reparameterized))
        model_args.pop("inference_mode", None)
        overrides.pop("inference_mode", None)
    given = {"in_chans": channels, "num_classes": classes, **overrides}
    model = _build(name, cfg, given, {key: value for key, value in model_args.items() if key not in overrides})
    if path and registry.fused_layers(name) is not None:
        with open_weights(path, key=checkpoint_key) as opened:
            model = form_of(model, opened.tensors)
    if dtype is not None:
        model.to(dtype)
    to_features = partial(_feature_class(feature_cls), out_indices=out_indices) if features_only else None

    # Its values, and the requested parts.
    if seed is not None:
        torch.manual_seed(seed)
    if not (pretrained or checkpoint_path):
        place = torch.device(device or "cpu")
        if place.type != "meta":
            materialize(model)
        model = reparameterize(model, inplace=True) if reparameterized else model
        if place.type != "cpu":
            model.to(place)
        return to_features(model) if to_features else model
    not_needed: set[str] = set()
    if to_features:  # before loading: a file of the trunk alone suffices
        whole = set(model.state_dict())
        model = to_features(model)
        not_needed = whole - set(model.state_dict())
    if checkpoint_path is not None:
        load_own(
            model,
            path,
            new_classifier=num_classes is not None,
            not_needed=not_needed,
            img_size=cfg.input_size[1:],
            source_size=source_size,
        )
    else:
        registry.require_weights(cfg)
        with downloads_in(cache_dir):
            load_pretrained(model, cfg, allow_missing=allow_missing, not_needed=not_needed, source_size=source_size)
    if seed is not None:
        initialise_classifier(model, model.load_report.initialised, seed)
    model = reparameterize(model, inplace=True) if reparameterized else model
    return model.to(device) if device is not None else model


def _require_use_of_size(name: str, path: str | Path) -> None:
    """Raise UsageError if the size of a source's images has no effect: for this architecture, or without a file."""
    require_size_dependent(registry.find_spec(name)[0], name)
    if not path:
        raise UsageError(
            "source_size describes a weight file, and none was given.", hint="Name the file (checkpoint_path)."
        )


def _build(name: str, cfg: PretrainedCfg, given: Mapping[str, Any], stated: Mapping[str, Any]) -> ImageModel:
    """A model on the meta device, with a config for its channels and image size.

    Args:
        given: the caller's arguments.
        stated: those of a config or a weight file.

    Raises:
        UnknownOptionError, UnknownArgumentError: the model has no such option.
        InvalidInputError: what a config or file states makes no model.
    """
    family, spec = registry.find_spec(name)
    model_class = getattr(import_module(f"zoo.models.{family}"), spec.model_class)
    options = _options(model_class, spec)
    arguments = {**stated, **with_names_of_layers(given, options)}
    if cfg.fixed_input_size and "img_size" in options:
        arguments = {"img_size": cfg.input_size[1:], **arguments}
    for key in arguments:
        if key in options:
            continue
        told, hint = f"{key!r}{_nearest(key, options)}", f"It takes {', '.join(sorted(options))}."
        if key in given:
            raise UnknownOptionError(f"{name} has no option {told}", hint=hint)
        raise UnknownArgumentError(
            f"The config or file states an argument that {name} does not have: {told}", hint=hint
        )
    spec_fields = {f.name for f in fields(spec)}
    changes: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items() if k in spec_fields
    }
    keywords = {k: v for k, v in arguments.items() if k not in spec_fields}
    try:
        with torch.device("meta"), _WithoutInitialValues():
            model: ImageModel = model_class(replace(spec, **changes), **keywords)
            if spec.pruned:
                prune(model, name)
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        if stated and not isinstance(error, ZooError):  # a file may state values of any kind
            told = ", ".join(f"{key}={value!r}"[:80] for key, value in stated.items())
            raise InvalidInputError(f"No {name} can be built with what the config or file states: {told}.") from error
        raise
    model.pretrained_cfg = adapted_cfg(_sized_cfg(cfg, arguments.get("img_size")), arguments["in_chans"]).to_dict()
    return model


class _WithoutInitialValues(TorchFunctionMode):
    """Passes over what fills a tensor on the meta device, which holds no values: it takes a third of the time."""

    _FILLS = frozenset(
        {
            *(nn.init.constant_, nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_),
            *(Tensor.clamp_, Tensor.erfinv_, Tensor.fill_, Tensor.normal_, Tensor.uniform_, Tensor.zero_),
        }
    )

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in self._FILLS and (filled := args[0] if args else named["tensor"]).is_meta:
            return filled
        return func(*args, **named)


def _options(model_class: type, spec: Spec) -> set[str]:
    """The keywords that a model takes: those of its class and the fields of its spec."""
    parameters = set(inspect.signature(model_class).parameters) - {"spec"}
    return parameters | {f.name for f in fields(spec)} - {"pruned"}


def _feature_class(name: str | type[FeatureNet]) -> Any:
    if isinstance(name, type) and issubclass(name, FeatureNet):
        return name
    if name not in FEATURE_CLASSES:
        raise UsageError(f"feature_cls must be one of {', '.join(map(repr, FEATURE_CLASSES))}, found {name!r}.")
    return FEATURE_CLASSES[str(name)]


@torch.no_grad()
def initialise_classifier(model: ImageModel, names: Collection[str], seed: int) -> None:
    """Give a model's classifier tensors among `names` the values of a new classifier (`new_classifier`).

    Args:
        names: names of the tensors that the weights lack.
        seed: seed for the values, 0 to 2^64 - 1.
    """
    found = model.state_dict()
    for path in model.classifier_paths if model.is_reparameterized else module_paths(model.spec.classifier):
        weight = found.get(f"{path}.weight")
        for name in {f"{path}.weight", f"{path}.bias"}.intersection(names, found):
            assert weight is not None  # a classifier has a weight, which its bias depends on
            blocks = initial_values(name, weight.shape, model.spec.classifier_init, seed)
            values = [torch.frombuffer(block, dtype=torch.float32) for block in blocks]
            found[name].copy_(torch.cat(values).reshape(found[name].shape))


def _choose_cfg(
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
                raise TypeError(f"A pretrained config has no field {key!r}{_nearest(key, known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in overlay.items()}
        if isinstance(values.get("file"), Path):
            values["file"] = str(values["file"])
        cfg = replace(cfg, **values)
    return cfg


def _sized_cfg(cfg: PretrainedCfg, img_size: Any) -> PretrainedCfg:
    """The config of a model that was built for images of a different size than its weights."""
    if img_size is None:
        return cfg
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if (height, width) == cfg.input_size[1:]:
        return cfg
    return replace(cfg, input_size=(cfg.input_size[0], height, width), test_input_size=None, test_crop_pct=None)


def _nearest(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."
