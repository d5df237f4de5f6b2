"""OpenMMLab's backbones, also where its compiled operations and its multimodal models cannot be imported."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import pytest
from torchvision_models import torchvision_models

_ABSENT = ("mmcv.ops", "mmcv._ext", "mmpretrain.models.multimodal")


class _Operations(ModuleType):
    """Any name is a class: detectors derive from them, and no backbone calls them."""

    __file__ = "absent"
    __path__: list[str] = []
    __all__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Loader:
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Operations(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


class _Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.startswith(_ABSENT):
            return ModuleSpec(fullname, _Loader(), is_package=True)  # type: ignore[arg-type]
        return None


def backbones(package: str) -> ModuleType:
    """`mmpretrain.models.backbones` or another package's; skips the test where it is not installed."""
    for needed in ("mmengine", "mmcv", package):
        pytest.importorskip(needed, exc_type=ImportError)
    torchvision_models()
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    return pytest.importorskip(f"{package}.models.backbones", exc_type=ImportError)  # type: ignore[no-any-return]
