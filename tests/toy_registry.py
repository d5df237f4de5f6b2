"""A registry of three made-up models, for tests of the command line that do not depend on the real one.

Run as a program it is `zoo` over that registry: `python toy_registry.py list`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

from zoo.core.architectures import model_columns, registry
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.architectures.records import Spec, Weights

LEVELS = [["stem", 8, 2], ["stages.0", 16, 4], ["stages.1", 32, 8]]


@dataclass(frozen=True, kw_only=True)
class ToySpec(Spec):
    model_class: ClassVar[str] = "ToyNet"

    @property
    def first_conv(self) -> str:
        return "stem.conv"


WEIGHTS = {
    "toynet_2.a_in1k": Weights(url="https://example.org/two.pth", license="mit", crop_pct=0.95, input_size=192),
    "toynet_2.b_in1k": Weights(hub_id="someone/else"),
    "toynet_10.a_in1k": Weights(package="toy_package:weights.pth", hub_id="", license=None),
}


def _entry(name: str, params: int, macs: int | None) -> dict[str, object]:
    """A line of the index, as it is made from the rows."""
    rows = {key.partition(".")[2]: row for key, row in WEIGHTS.items() if key.partition(".")[0] == name}
    spec = ToySpec()
    default = next(iter(rows.values()), Weights())
    return {
        "family": "toynet",
        "params": params,
        "macs": macs,
        "input_size": [3, default.input_size, default.input_size],
        "num_features": 32,
        "levels": LEVELS,
        "first_conv": spec.first_conv,
        "classifier": spec.classifier,
        "pool_stride": spec.total_stride,
        "tags": {tag: _stated(row) for tag, row in (rows or {UNTRAINED: Weights()}).items()},
        "fingerprint": "",
    }


def _stated(row: Weights) -> dict[str, object]:
    return {key: value for key, value in row._asdict().items() if value != Weights._field_defaults[key]}


INDEX = {
    "toynet_2": _entry("toynet_2", 2_000_000, 900),
    "toynet_10": _entry("toynet_10", 1_000_000, 4_100_000_000),
    "toynet_raw": _entry("toynet_raw", 3_000, None),
}


def install(replace: Callable[[object, str, object], None] = setattr) -> None:
    """Make this the registry of the running process; a test gives `monkeypatch.setattr`, which undoes it."""
    configs = ModuleType("zoo.core.architectures.configs.toynet")
    configs.VARIANTS = {name: ToySpec() for name in INDEX}  # type: ignore[attr-defined]
    configs.WEIGHTS = WEIGHTS  # type: ignore[attr-defined]
    sys.modules[configs.__name__] = configs
    replace(registry, "_index", INDEX)
    replace(model_columns, "_table", {name: model_columns.columns_line(line) for name, line in INDEX.items()})
    replace(registry, "families", lambda: ("toynet",))


if __name__ == "__main__":
    from zoo.cli.start import main

    install()
    main()
