"""The available models, and their facts without building one. Standard library only.

Names, measured facts and default configs come from `index.json`, which `make index` writes from the rows in `configs/`.
Specs come from the rows themselves, one family's file at a time.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.architectures.default_cfgs import UNTRAINED, as_paths, cfgs_of_line, choose_cfg, compose_cfg
from zoo.core.architectures.line_table import LineTable
from zoo.core.architectures.model_facts import FeatureLevel, ModelFacts, TaskLayers, module_paths
from zoo.core.architectures.names import natural_key, split_model_name_tag
from zoo.core.errors import DuplicateModelError, NotFoundError, UnknownModelError, UsageError

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg, Spec, Weights

Entrypoint = Callable[..., Any]
Patterns = str | Sequence[str]

INDEX_PATH = Path(__file__).with_name("index.json")
INDEX_SECTION = "models"

_index = LineTable(INDEX_PATH, INDEX_SECTION)
_user_models: dict[str, Entrypoint] = {}
_user_cfgs: dict[str, dict[str, PretrainedCfg]] = {}


def answer_from_rows_alone() -> None:
    """Ignore the index while it is being made: it may be older than the rows."""
    global _index
    _index = LineTable(INDEX_PATH.with_name("no index"), INDEX_SECTION)


# ---------------------------------------------------------------- rows


@cache
def families() -> tuple[str, ...]:
    """Every family: one per file in core/architectures/configs."""
    import pkgutil

    package = import_module("zoo.core.architectures.configs")
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


@cache
def variants(family: str) -> Mapping[str, Spec]:
    """The rows of one family: name -> spec."""
    return import_module(f"zoo.core.architectures.configs.{family}").VARIANTS  # type: ignore[no-any-return]


@cache
def _weights_by_name(family: str) -> dict[str, dict[str, Weights]]:
    rows: dict[str, dict[str, Weights]] = {}
    for full_name, row in import_module(f"zoo.core.architectures.configs.{family}").WEIGHTS.items():
        name, tag = split_model_name_tag(full_name)
        rows.setdefault(name, {})[tag] = row
    return rows


def _family_of(name: str) -> str | None:
    entry = _index.get(name)
    if entry is not None:
        return str(entry["family"])
    # The name is not in the index: its row was added since `make index`, or there is no such model.
    return next((family for family in families() if name in variants(family)), None)


def find_spec(name: str) -> tuple[str, Spec]:
    """Family and spec of an architecture, given by its current name. Raises UnknownModelError."""
    family = _family_of(name)
    if family is None or name not in variants(family):
        raise unknown_model(name)
    return family, variants(family)[name]


def facts(name: str) -> ModelFacts:
    """Measured facts about a built-in architecture. Raises UnknownModelError."""
    entry = _index.get(name)
    if entry is None:
        raise unknown_model(name)
    return ModelFacts(
        name=name,
        family=entry["family"],
        params=entry["params"],
        macs=entry["macs"],
        input_size=tuple(entry["input_size"]),
        num_features=entry["num_features"],
        levels=tuple(FeatureLevel(*level) for level in entry["levels"]),
        tags=_published(entry["tags"]),
        fingerprint=entry["fingerprint"],
    )


def _published(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(tag for tag in tags if tag != UNTRAINED)


def task_layers(name: str) -> TaskLayers | None:
    """The input layers and the classifier of a built-in architecture, from the index; None for any other name."""
    entry = _index.get(name)
    if entry is None:
        return None
    return TaskLayers(
        architecture=name,
        family=entry["family"],
        input_size=tuple(entry["input_size"]),
        first_conv=as_paths(entry["first_conv"]),
        classifier=as_paths(entry["classifier"]),
        input_layout=entry.get("input_layout", "conv"),
        may_depend_on_size="size_free" in entry,
    )


def fused_layers(name: str) -> TaskLayers | None:
    """As `task_layers`, in the architecture's form for inference (`zoo.reparameterize`); None if it has none."""
    entry, layers = _index.get(name), task_layers(name)
    if entry is None or layers is None or "fused_fingerprint" not in entry:
        return None
    first_conv, classifier = (as_paths(entry[key]) for key in ("fused_first_conv", "fused_classifier"))
    return layers._replace(first_conv=first_conv, classifier=classifier)


def embeds_prefix(name: str) -> bool | None:
    """Whether the prefix tokens of an architecture have positions; None if it has none, or the name is not known."""
    entry = _index.get(name)
    if entry is not None:
        return entry.get("embeds_prefix")
    family = _family_of(name)
    return None if family is None else variants(family)[name].embeds_prefix


def layers_of_every_architecture() -> list[tuple[str | list[str] | None, ...]]:
    """`first_conv` and `classifier` of every built-in architecture, as in the index."""
    return _index.columns("first_conv", "classifier")


def layers_of_every_fused_form() -> list[tuple[str | list[str] | None, ...]]:
    """The same of every form for inference."""
    return _index.columns_of_some("fused_first_conv", "fused_classifier")


def classifier_inputs(name: str) -> dict[str, tuple[int, ...]]:
    """Each classifier's path in a built-in architecture, with its weight's shape without the first axis, the classes.

    Raises UnknownModelError.
    """
    entry = _index.get(name)
    if entry is None:
        raise unknown_model(name)
    paths = module_paths(as_paths(entry["classifier"]))
    inputs = entry.get("classifier_inputs", [[entry["num_features"]]] * len(paths))
    return {path: tuple(sizes) for path, sizes in zip(paths, inputs, strict=False)}  # an encoder has none


def names_with_fingerprint(fingerprint: str) -> list[str]:
    """The architectures whose tensors have these names and shapes (several, if only the mathematics differs)."""
    return _index.names_where("fingerprint", fingerprint)


def names_with_fused_fingerprint(fingerprint: str) -> list[str]:
    """The architectures whose form for inference has tensors of these names and shapes."""
    return _index.names_where("fused_fingerprint", fingerprint)


def fused_fingerprint(name: str) -> str:
    """The fingerprint of an architecture's form for inference; '' if it has none."""
    return str(_index.get(name, {}).get("fused_fingerprint", ""))


def names_with_size_free_fingerprint(family: str, fingerprint: str) -> list[str]:
    """The architectures of a family with these tensor names and shapes, ignoring the image and patch size."""
    return [name for name in _index.names_where("size_free", fingerprint) if _index[name]["family"] == family]


# ---------------------------------------------------------------- names


def resolve_name(model_name: str) -> tuple[str, str]:
    """Architecture and tag of a name from the user; an old name warns and becomes its successor.

    Raises UnknownModelError with the nearest names.
    """
    name, tag = split_model_name_tag(model_name)
    if name in _user_models or name in _index:
        return name, tag
    successor = current_name(model_name)
    name, tag = split_model_name_tag(successor)
    if _family_of(name):
        return name, tag
    raise unknown_model(successor)


def is_current(name: str) -> bool:
    """Whether an architecture of exactly this name can be built."""
    return name in _user_models or _family_of(name) is not None


def family_of_class(model_class: str) -> str | None:
    """The family of a class of models, which is looked for in all rows; None if there is no such class."""
    return next((one for one in families() if any(s.model_class == model_class for s in variants(one).values())), None)


def current_name(model_name: str) -> str:
    """The current name (with or without tag) for an old name, with a warning; any other name unchanged."""
    # Import the small table only if the name is not a current one.
    from zoo.core.architectures.aliases import ALIASES

    successor = ALIASES.get(model_name)
    if successor is None:
        return model_name
    warnings.warn(f"{model_name!r} is an old name; use {successor!r}", FutureWarning, stacklevel=_level_of_caller())
    return successor


def _level_of_caller() -> int:
    """The `stacklevel` with which a warning of this module points at the line that called zoo, however it got here."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "zoo":
        frame, level = frame.f_back, level + 1
    return level


def unknown_model(name: str) -> UnknownModelError:
    """The error for a name that cannot be built, with the nearest names."""
    import difflib

    base = split_model_name_tag(name)[0]
    near = difflib.get_close_matches(base, [*_index, *_user_models], n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`zoo list` prints every name."
    return UnknownModelError(f"No model is called {base!r}.", hint=hint)


def _as_patterns(patterns: Patterns) -> list[str]:
    found = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in found:
        # fnmatch takes an unclosed bracket literally. No model name contains one, so it is a typo.
        if "[" in re.sub(r"\[!?\]?[^\]]*\]", "", pattern):
            raise UsageError(
                f"The pattern {pattern!r} opens a bracket and does not close it.", hint="Close it with ']'."
            )
    return [p for p in found if p]


def _matches(full_name: str, patterns: Iterable[str]) -> bool:
    """Match a name: a pattern with a dot is for `name.tag`, one without is for the architecture."""
    base = full_name.partition(".")[0]
    return any(fnmatchcase(full_name if "." in p else base, p) for p in patterns)


def list_models(
    filter: Patterns = "",
    module: str | Sequence[str] = "",
    pretrained: bool = False,
    exclude_filters: Patterns = "",
    name_matches_cfg: bool = False,
    include_tags: bool | None = None,
) -> list[str]:
    """Names of models, in natural order.

    Args:
        filter: shell wildcard(s); names that match any are kept. A pattern with a dot matches `name.tag`, one without
            matches the architecture.
        module: family name(s), from `list_modules`.
        pretrained: only names with published weights.
        exclude_filters: wildcard(s) to leave out.
        name_matches_cfg: only names that have a default config of their own (a user's model may have none).
        include_tags: `name.tag` for each published tag instead of the bare name; defaults to `pretrained`.

    Raises:
        UsageError: a pattern with an unclosed bracket.
    """
    tagged = pretrained if include_tags is None else include_tags
    wanted, unwanted = _as_patterns(filter), _as_patterns(exclude_filters)
    modules = {module} if isinstance(module, str) and module else set(module or ())
    if not (wanted or unwanted or modules or tagged or pretrained or _user_models):
        return sorted(_index, key=natural_key)
    names = []
    for name, family, tags in _all_models():
        if (modules and family not in modules) or (pretrained and not tags):
            continue
        if name_matches_cfg and name in _user_models and name not in _user_cfgs:
            continue
        for full_name in [f"{name}.{tag}" for tag in tags] or [name] if tagged else [name]:
            if wanted and not _matches(full_name, wanted):
                continue
            if not _matches(full_name, unwanted):
                names.append(full_name)
    return sorted(names, key=natural_key)


def _all_models() -> Iterable[tuple[str, str, Sequence[str]]]:
    for name, entry in _index.items():
        yield name, entry["family"], _published(entry["tags"])
    for name, fn in _user_models.items():
        tags = [tag for tag, cfg in _user_cfgs.get(name, {}).items() if tag and cfg.has_weights]
        yield name, fn.__module__.rpartition(".")[2], tags


def list_pretrained(filter: Patterns = "", exclude_filters: Patterns = "") -> list[str]:
    """`name.tag` of every model with published weights."""
    return list_models(filter=filter, pretrained=True, exclude_filters=exclude_filters, include_tags=True)


def list_modules() -> list[str]:
    """The families, both built-in and registered by the user."""
    return sorted({*families(), *(fn.__module__.rpartition(".")[2] for fn in _user_models.values())})


def is_model(model_name: str) -> bool:
    """Whether `create_model` knows this name; old names count, and the tag is ignored."""
    try:
        with warnings.catch_warnings(action="ignore"):
            resolve_name(model_name)
    except UnknownModelError:
        return False
    return True


def is_model_in_modules(model_name: str, module_names: Iterable[str]) -> bool:
    """Whether the model belongs to one of the families."""
    name = split_model_name_tag(model_name)[0]
    if name in _user_models:
        return _user_models[name].__module__.rpartition(".")[2] in set(module_names)
    return _family_of(name) in set(module_names)


def is_model_pretrained(model_name: str) -> bool:
    """Whether there are published weights for this name, or for this `name.tag`."""
    name, tag = split_model_name_tag(model_name)
    return any(n == name and (tag in tags if tag else bool(tags)) for n, _, tags in _all_models())


# ---------------------------------------------------------------- default configs


def cfgs_by_tag(model_name: str) -> dict[str, PretrainedCfg]:
    """Default configs of one architecture by tag, the default first. Raises UnknownModelError."""
    return cfgs_of(resolve_name(model_name)[0])


def cfgs_of(name: str) -> dict[str, PretrainedCfg]:
    """Like `cfgs_by_tag`, for a current name without a tag."""
    if name in _user_models:
        return dict(_user_cfgs.get(name, {}))
    entry = _index.get(name)
    if entry is None:
        return cfgs_of_rows(name)
    return cfgs_of_line(name, entry)


def cfgs_of_rows(name: str) -> dict[str, PretrainedCfg]:
    """Default configs of a built-in architecture by tag, from the rows that the index is made from."""
    family, spec = find_spec(name)
    return {
        tag: compose_cfg(
            name,
            tag,
            row,
            first_conv=spec.first_conv,
            classifier=spec.classifier,
            total_stride=spec.total_stride,
        )
        for tag, row in weights_rows(family, name).items()
    }


def weights_rows(family: str, name: str) -> Mapping[str, Weights]:
    """The rows of one architecture by tag; an architecture without weights has an untrained config."""
    from zoo.core.architectures.records import Weights

    return _weights_by_name(family).get(name) or {UNTRAINED: Weights(hub_id="")}


def get_arch_pretrained_cfgs(model_name: str) -> dict[str, PretrainedCfg]:
    """Default configs of one architecture under `name.tag`, the default first. Raises UnknownModelError."""
    return {cfg.name: cfg for cfg in cfgs_by_tag(model_name).values()}


def require_weights(cfg: PretrainedCfg) -> None:
    """Raise NotFoundError if a config names no weights; the hint lists the tags that have weights."""
    if cfg.has_weights:
        return
    tagged = list_pretrained(cfg.architecture)
    hint = f"Tags that have: {', '.join(tagged)}." if tagged else "Give a weight file of your own."
    name = cfg.architecture if cfg.tag == UNTRAINED else cfg.name
    raise NotFoundError(f"{name} has no published weights.", hint=hint)


def get_pretrained_cfg(model_name: str, allow_unregistered: bool = True) -> PretrainedCfg | None:
    """Default config of `name` (its default tag) or `name.tag`.

    Raises:
        UnknownModelError: no such model (with `allow_unregistered`, None is returned instead).
        NotFoundError: the model has no such tag; the message lists the tags it has.
    """
    try:
        name, tag = resolve_name(model_name)
    except UnknownModelError:
        if allow_unregistered:
            return None
        raise
    cfgs = cfgs_of(name)
    return choose_cfg(name, tag, cfgs) if tag or cfgs else None


def get_pretrained_cfg_value(model_name: str, cfg_key: str) -> Any | None:
    """One value of a default config; None if the model or the key is unknown."""
    cfg = get_pretrained_cfg(model_name)
    return cfg.get(cfg_key) if cfg is not None else None


# ---------------------------------------------------------------- entrypoints


def register_model(fn: Entrypoint) -> Entrypoint:
    """Decorator that makes the user's function available to `create_model` under the function's name.

    The function takes `pretrained` and the keywords given to `create_model`. An existing name raises
    DuplicateModelError and leaves the registry unchanged.
    """
    name = fn.__name__
    if name in _user_models or _family_of(name):
        raise DuplicateModelError(
            f"A model called {name!r} is registered already.", hint="Give the function another name."
        )
    _user_models[name] = fn
    return fn


def user_model(name: str) -> Entrypoint | None:
    """The function that the user registered under this name, if any."""
    return _user_models.get(name)
