"""Hugging Face transformers from version 5 on, with the tensor names of its models in memory (`model.state_dict()`).

Only the renamed families are here; the names in their files are still those of `transformers`.
"""

from __future__ import annotations

from zoo.core.layouts import transformers
from zoo.core.layouts.table import Table

_LAYERS = {"encoder.layer.{i}.": "layers.{i}."}

_ATTENTION_AND_MLP = {
    "attention.attention.query.*": "attention.q_proj.*",
    "attention.attention.key.*": "attention.k_proj.*",
    "attention.attention.value.*": "attention.v_proj.*",
    "attention.output.dense.*": "attention.o_proj.*",
    " intermediate.dense.*": " mlp.fc1.*",
    " output.dense.*": " mlp.fc2.*",
}

_GATED_MLP = {
    "mlp.weights_in.*": "mlp.gate_proj.* mlp.up_proj.*",
    "mlp.weights_out.*": "mlp.down_proj.*",
}

_WINDOWS = {
    "attention.self.query.*": "attention.q_proj.*",
    "attention.self.key.*": "attention.k_proj.*",
    "attention.self.value.*": "attention.v_proj.*",
    "attention.self.relative_position_bias_table": "attention.relative_position_bias.relative_position_bias_table",
    "attention.self.relative_position_index": "attention.relative_position_bias.relative_position_index",
}

_MODEL = {
    " layer.{i}.": " model.layer.{i}.",
    " stages.0.downsample": " model.stages.0.downsample",
    " stages.{s}.downsample": " model.stages.{s}.downsample",
    " stages.{s}.layers": " model.stages.{s}.layers",
}

_RENAMED = {
    "DINOv2 with registers": _ATTENTION_AND_MLP,
    "DINOv2 with registers and SwiGLU": _ATTENTION_AND_MLP | _GATED_MLP,
    "DINOv3": _MODEL,
    "DINOv3 with a gate": _MODEL,
    "DINOv3 ConvNeXt": _MODEL,
    "ViT": _LAYERS | _ATTENTION_AND_MLP,
    "DeiT": _LAYERS | _ATTENTION_AND_MLP,
    "DINOv2": _ATTENTION_AND_MLP,
    "DINOv2 with SwiGLU": _ATTENTION_AND_MLP | _GATED_MLP,
    "Swin Transformer": _ATTENTION_AND_MLP | _WINDOWS,
}


def _renamed(table: Table) -> Table:
    rows = table.rows
    for before, now in _RENAMED[table.family].items():
        rows = rows.replace(before, now)
    return table._replace(rows=rows)


TABLES = tuple(_renamed(table) for table in transformers.TABLES if table.family in _RENAMED)
