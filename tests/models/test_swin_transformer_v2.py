"""Published files of both networks of the second generation whose names differ from the model's."""

from __future__ import annotations

import re

import torch

from zoo import create_model
from zoo.models import swin_transformer_v2, swin_transformer_v2_cr
from zoo.models.layers.log_position_bias import scaled_log_offsets


def test_files_of_the_authors_fit() -> None:
    model = create_model("swinv2_tiny_window8_256", img_size=64)
    state = model.state_dict()
    theirs = {"layers.3.blocks.0.attn.relative_coords_table": torch.zeros(1)}
    for key, value in state.items():
        key = re.sub(r"^layers\.(\d+)\.downsample", lambda stage: f"layers.{int(stage[1]) - 1}.downsample", key)
        theirs[key.replace("head.fc.", "head.")] = value
    unused = swin_transformer_v2.unused_keys(theirs, model)
    assert unused == {"layers.3.blocks.0.attn.relative_coords_table"}
    repaired = swin_transformer_v2.repair_keys(theirs, model)
    assert repaired.keys() - unused == state.keys()


def test_older_files_hold_the_inverse_of_the_scale() -> None:
    model = create_model("swinv2_cr_tiny_224", img_size=64)
    state = model.state_dict()
    older = {}
    for key, value in state.items():
        if key.endswith("logit_scale"):
            key, value = key.replace("logit_scale", "tau"), 1 / value.exp()
        older[key.replace("head.fc.", "head.")] = value
    repaired = swin_transformer_v2_cr.repair_keys(older, model)
    assert repaired.keys() == state.keys()
    key = "stages.0.blocks.0.attn.logit_scale"
    torch.testing.assert_close(repaired[key], state[key])
    assert swin_transformer_v2_cr.repair_keys(state, model) == state


def test_offsets_are_scaled_to_the_windows_of_training() -> None:
    offsets = scaled_log_offsets((3, 5), (2, 5))
    assert offsets.shape == (5, 9, 2)
    # Two rows in windows of two are twice the width of a window: log8(1 + 16).
    torch.testing.assert_close(offsets[-1, -1], torch.tensor([17.0, 9.0]).log2() / 3)
    assert not offsets[2, 4].any()
