"""What a module of a family answers: constructor functions and default configs, made on demand from its rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from zoo.core.architectures.registry import (
    Entrypoint,
    cfgs_of,
    find_spec,
    is_model_in_modules,
    resolve_name,
    user_model,
    variants,
)
from zoo.core.errors import UnknownModelError


def model_entrypoint(model_name: str, module_filter: str | None = None) -> Entrypoint:
    """The function that builds a model, as `zoo.models.<family>.<name>`. Raises UnknownModelError."""
    name, _ = resolve_name(model_name)
    if module_filter and not is_model_in_modules(name, [module_filter]):
        raise UnknownModelError(
            f"No model called {name!r} in the family {module_filter!r}.", hint=f"See `zoo info {name}`."
        )
    return user_model(name) or _builtin_entrypoint(name)


@cache
def _builtin_entrypoint(name: str) -> Entrypoint:
    family, _ = find_spec(name)

    def build(pretrained: bool = False, **overrides: Any) -> Any:
        from zoo.core.model.build import create_model  # the one way up: importing a family builds nothing

        return create_model(name, pretrained=pretrained, **overrides)

    build.__name__ = build.__qualname__ = name
    build.__module__ = f"zoo.models.{family}"
    build.__doc__ = f"Build {name}; takes the keywords of `zoo.create_model`."
    return build


def family_attributes(family: str) -> Callable[[str], Any]:
    """The module-level `__getattr__` of a family: its constructor functions and `default_cfgs`, made on demand."""

    def module_getattr(attribute: str) -> Any:
        if attribute == "default_cfgs":
            return default_cfgs(family)
        if attribute in variants(family):
            return _builtin_entrypoint(attribute)
        raise AttributeError(f"module 'zoo.models.{family}' has no attribute {attribute!r}")

    return module_getattr


@cache
def default_cfgs(family: str) -> dict[str, dict[str, Any]]:
    """Default configs of a family as plain dicts, under `name` (the default tag) and under `name.tag`."""
    found: dict[str, dict[str, Any]] = {}
    for name in variants(family):
        for tag, cfg in cfgs_of(name).items():
            found.setdefault(name, cfg.to_dict())
            found[f"{name}.{tag}"] = cfg.to_dict()
    return found
