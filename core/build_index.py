"""Make core/index.json from the registry rows: the facts that take a model to measure.

python -m zoo.core.build_index                write it
python -m zoo.core.build_index FAMILY ...     measure these families only, keep what it says of the others
python -m zoo.core.build_index --check        say whether it is up to date
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.core import registry
from zoo.core.build import create_model
from zoo.core.errors import UsageError
from zoo.core.fingerprint import fingerprint
from zoo.core.identify import size_free
from zoo.core.line_table import LineTable, render_line_table
from zoo.core.records import module_paths
from zoo.core.registry import UNTRAINED


def measure(name: str) -> dict[str, Any]:
    """Facts of one architecture, measured on the meta device: nothing is allocated.

    `macs` are the multiply-accumulates of one image at the default input size.
    """
    cfgs = registry.cfgs_by_tag(name)
    cfg = next(iter(cfgs.values()))
    # The counter asks views of parameters for a gradient function, and under no_grad they have none.
    model = create_model(name, device="meta").eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *cfg.input_size, device="meta"))
    family, spec = registry.find_spec(name)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    layers = module_paths(spec.first_conv), module_paths(spec.classifier)
    measured = {
        "family": family,
        "params": sum(p.numel() for p in model.parameters()),
        "macs": counter.get_total_flops() // 2,
        "input_size": cfg.input_size,
        "num_features": model.num_features,
        "levels": [[level["module"], level["num_chs"], level["reduction"]] for level in model.feature_info],
        "fingerprint": fingerprint(shapes, *layers),
        "tags": [tag for tag in cfgs if tag != UNTRAINED],
    }
    free = size_free(family, shapes)
    if free != shapes:
        measured["size_free"] = fingerprint(free, *layers)
    return measured


def build(families: Sequence[str] = ()) -> str:
    """The whole index as text: `families` measured (default: all), of the others what the index says already.

    Raises UsageError for a family that there is none of.
    """
    unknown = sorted(set(families) - set(registry.families()))
    if unknown:
        raise UsageError(f"There is no family {unknown[0]!r}; there are {', '.join(registry.families())}.")
    measured = LineTable(registry.INDEX_PATH, registry.INDEX_SECTION) if families else {}
    return render_line_table(
        registry.INDEX_SECTION,
        {
            name: measured[name] if name in measured and family not in families else measure(name)
            for family in registry.families()
            for name in registry.variants(family)
        },
    )


def main(arguments: Sequence[str]) -> int:
    """`[FAMILY ...]` writes the index; `--check` exits with 1 where it is not what a new one would be."""
    if "--check" in arguments:
        return int(not registry.INDEX_PATH.exists() or registry.INDEX_PATH.read_text() != build())
    registry.INDEX_PATH.write_text(build(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
