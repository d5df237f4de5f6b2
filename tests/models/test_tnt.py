"""The names of the TNT authors' files."""

import pytest
import torch

import zoo
from zoo.models.tnt import repair_keys, unused_keys

SMALL = {"embed_dim": 24, "inner_dim": 8, "num_heads_outer": 2, "depth": 2, "img_size": (32, 48), "num_classes": 3}

THEIRS = {
    "patch_pos": "outer_pos",
    "pixel_pos": "inner_pos",
    "pixel_embed": "patch_embed",
    "norm1_proj": "proj_norm1",
    "norm2_proj": "proj_norm2",
    "norm_mlp_in": "inner_norm2",
    "norm_in": "inner_norm1",
    "norm_mlp": "outer_norm2",
    "norm_out": "outer_norm1",
    "attn_in": "inner_attn",
    "attn_out": "outer_attn",
    "mlp_in": "inner_mlp",
    "mlp": "outer_mlp",
}


@pytest.mark.parametrize("legacy", [False, True])
def test_the_authors_names(legacy):
    model = zoo.create_model("tnt_s_patch16_224", seed=0, legacy=legacy, **SMALL)
    state = model.state_dict()
    theirs = {".".join(THEIRS.get(part, part) for part in key.split(".")): value for key, value in state.items()}
    if not legacy:
        theirs["inner_pos"] = state["pixel_pos"].flatten(2).transpose(1, 2)
    assert unused_keys([*theirs, "outer_tokens"], model) == {"outer_tokens"}
    repaired = repair_keys(theirs, model)
    assert repaired.keys() == state.keys()
    assert all(torch.equal(repaired[key], value) for key, value in state.items())
    assert repair_keys(state, model) is state
