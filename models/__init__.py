"""One file per family of nn.Modules; attribute names are the keys of published checkpoints.

The package also answers to the names of timm's published API, and to the name of each model, its class and its family.
"""

from importlib import import_module
from typing import Any

from zoo.published_names import offer

_published, __dir__, __all__ = offer(__name__)

_MODULES = ("features", "helpers", "registry")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _published(name)
    if name in _MODULES:
        return import_module(f"zoo.models.{name}")
    if not name.startswith("_"):
        from zoo.core.architectures.registry import families, family_of_class, is_current

        if is_current(name):
            from zoo.models.entrypoints import model_entrypoint

            return model_entrypoint(name)
        if name in families():
            return import_module(f"zoo.models.{name}")
        if name[0].isupper() and (family := family_of_class(name)):
            return getattr(import_module(f"zoo.models.{family}"), name)
    raise AttributeError(f"module 'zoo.models' has no attribute {name!r}")
