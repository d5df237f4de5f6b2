"""Write the measured facts from the registry.

They are index.json, model_columns.json and families.json, and the rows of core/identify/*_digests.json.

python -m zoo.core.model.build_index                write them
python -m zoo.core.model.build_index FAMILY ...     measure only these families, keep the others' lines
python -m zoo.core.model.build_index --check        say whether they are up to date
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.core.architectures import registry
from zoo.core.architectures.family_facts import FAMILIES_PATH, FAMILIES_SECTION, SizeFacts, rendered
from zoo.core.architectures.fingerprint import fingerprint
from zoo.core.architectures.line_table import LineTable, render_line_table
from zoo.core.architectures.model_columns import COLUMNS_PATH, COLUMNS_SECTION, columns_line
from zoo.core.architectures.records import Spec, Weights, module_paths
from zoo.core.errors import UsageError
from zoo.core.identify.identify import size_free
from zoo.core.identify.similar_architectures import DIGESTS_PATH, DIGESTS_SECTION, layer_digests
from zoo.core.identify.similar_shapes import SHAPES_PATH, SHAPES_SECTION, shape_digests
from zoo.core.model.build import create_model
from zoo.core.model.reparameterize import has_fused_form, reparameterize
from zoo.models.base import ImageModel


def measure(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The rows of one architecture in the index, in the table of layers and in that of shapes.

    It is measured on the meta device, without allocating memory. `macs` are the multiply-accumulates for one image at
    the default input size.
    """
    cfg = next(iter(registry.cfgs_of_rows(name).values()))
    model, macs = _model_and_macs(name, cfg.input_size)
    family, spec = registry.find_spec(name)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    layers = module_paths(spec.first_conv), module_paths(spec.classifier)
    measured: dict[str, Any] = {
        "family": family,
        "params": sum(p.numel() for p in model.parameters()),
        "macs": macs,
        "input_size": cfg.input_size,
        "num_features": model.num_features,
        **_classifier_inputs(name, spec, model.num_features),
        "levels": [[level["module"], level["num_chs"], level["reduction"]] for level in model.feature_info],
        **stated(name),
        "fingerprint": fingerprint(shapes, *layers),
    }
    free = size_free(spec.sizes, shapes)
    if free != shapes:
        measured["size_free"] = fingerprint(free, *layers)
    measured |= fused_form(model)
    return measured, {"layers": layer_digests(shapes, *layers)}, shape_digests(shapes, *layers)


def _model_and_macs(
    full_name: str, input_size: tuple[int, int, int], num_classes: int | None = None
) -> tuple[Any, int]:
    """A model on the meta device, and its multiply-accumulates for one image."""
    # The counter asks views of parameters for a gradient function, which they lack under no_grad.
    model = create_model(full_name, num_classes=num_classes, device="meta").eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *input_size, device="meta"))
    return model, counter.get_total_flops() // 2


def measure_other_sizes(name: str) -> dict[str, dict[str, int]]:
    """Parameters and multiply-accumulates for the tags whose input size is not that of the index, by tag.

    The classifier is the default tag's, so that only the size differs.
    """
    default, *others = registry.cfgs_of_rows(name).values()
    by_size: dict[tuple[int, int, int], dict[str, int]] = {}
    found = {}
    for cfg in others:
        if cfg.input_size != default.input_size:
            if cfg.input_size not in by_size:
                model, macs = _model_and_macs(cfg.name, cfg.input_size, default.num_classes)
                by_size[cfg.input_size] = {"params": sum(p.numel() for p in model.parameters()), "macs": macs}
            found[cfg.tag] = by_size[cfg.input_size]
    return found


def fused_form(model: ImageModel) -> dict[str, Any]:
    """The facts of the form for inference, if there is one: its first layers, its classifiers, its tensors."""
    if not has_fused_form(model):
        return {}
    fused = reparameterize(model)
    assert isinstance(fused, ImageModel)
    assert fused.fused_layers is not None
    shapes = {key: tensor.shape for key, tensor in fused.state_dict().items()}
    return {
        "fused_first_conv": fused.pretrained_cfg["first_conv"],
        "fused_classifier": fused.pretrained_cfg["classifier"],
        "fused_fingerprint": fingerprint(shapes, *fused.fused_layers),
    }


def stated(name: str) -> dict[str, Any]:
    """The facts that the rows state about an architecture's weights."""
    family, spec = registry.find_spec(name)
    return {
        "first_conv": spec.first_conv,
        "classifier": spec.classifier,
        **({} if spec.input_layout == "conv" else {"input_layout": spec.input_layout}),
        **({} if spec.embeds_prefix is None else {"embeds_prefix": spec.embeds_prefix}),
        "pool_stride": spec.total_stride,
        "tags": {tag: _differing(row) for tag, row in registry.weights_rows(family, name).items()},
    }


def _differing(row: Weights) -> dict[str, Any]:
    """The values of a row that are not the default."""
    return {key: value for key, value in row._asdict().items() if value != Weights._field_defaults[key]}


def _classifier_inputs(name: str, spec: Spec, num_features: int) -> dict[str, list[list[int]]]:
    """Each classifier's weight shape without the first axis, the classes; empty if all are just the features.

    The list is empty for a network that has no classifier, whatever number of classes is asked for.
    """
    model = create_model(name, num_classes=1, device="meta")
    if not model.num_classes:
        return {"classifier_inputs": []}
    inputs = [list(model.get_parameter(f"{path}.weight").shape[1:]) for path in module_paths(spec.classifier)]
    return {} if inputs == [[num_features]] * len(inputs) else {"classifier_inputs": inputs}


def family_lines() -> dict[str, dict[str, Any]]:
    """The lines of families.json, from the specs."""
    lines = {family: rendered(_sizes_of(family)) for family in registry.families()}
    return {family: line for family, line in lines.items() if line}


def _sizes_of(family: str) -> SizeFacts:
    """The size facts that all specs of a family share."""
    first, *others = registry.variants(family).values()
    assert all(spec.sizes == first.sizes for spec in others), f"the specs of {family} differ in `sizes`"
    return first.sizes


def build(families: Sequence[str] = ()) -> dict[Path, str]:
    """The text of the files: `families` (default: all) are measured, the others keep their lines.

    Raises UsageError for an unknown family.
    """
    unknown = sorted(set(families) - set(registry.families()))
    if unknown:
        raise UsageError(f"There is no family {unknown[0]!r}; there are {', '.join(registry.families())}.")
    registry.answer_from_rows_alone()
    written = LineTable(registry.INDEX_PATH, registry.INDEX_SECTION)
    digests = LineTable(DIGESTS_PATH, DIGESTS_SECTION)
    by_shapes = LineTable(SHAPES_PATH, SHAPES_SECTION)
    rows: dict[str, dict[str, Any]] = {}
    written_columns = LineTable(COLUMNS_PATH, COLUMNS_SECTION)
    layers: dict[str, dict[str, Any]] = {}
    shape_rows: dict[str, dict[str, Any]] = {}
    columns: dict[str, Any] = {}
    for family in registry.families():
        for name in registry.variants(family):
            is_kept = families and family not in families
            if is_kept and all(name in table for table in (written, digests, by_shapes, written_columns)):
                rows[name], layers[name], columns[name] = written[name], digests[name], written_columns[name]
                shape_rows[name] = by_shapes[name]
            else:
                rows[name], layers[name], shape_rows[name] = measure(name)
                columns[name] = columns_line(rows[name], measure_other_sizes(name))
    return {
        FAMILIES_PATH: render_line_table(FAMILIES_SECTION, family_lines()),
        registry.INDEX_PATH: render_line_table(registry.INDEX_SECTION, rows),
        COLUMNS_PATH: render_line_table(COLUMNS_SECTION, columns),
        DIGESTS_PATH: render_line_table(DIGESTS_SECTION, layers),
        SHAPES_PATH: render_line_table(SHAPES_SECTION, shape_rows),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the files, for `[FAMILY ...]`; with `--check`, return 1 if they are out of date."""
    if "--check" in arguments:
        return int(any(not path.exists() or path.read_text() != text for path, text in build().items()))
    for path, text in build(arguments).items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
