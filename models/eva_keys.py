"""Published checkpoints of EVA and its kin whose keys are not the model's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch.nn as nn
from torch import Tensor

from zoo.models.key_table import KeyTable, rename_keys

KEY_LAYOUTS = ("authors", "eva_clip", "open_clip", "dino")

SAPIENS2_KEYS: KeyTable = {
    r"^storage_tokens$": "reg_token",
    r"^patch_embed\.projection\.": "patch_embed.proj.",
    r"\.attn\.w([qkv])\.": r".attn.\1_proj.",
    r"\.attn\.gamma\.weight$": ".gamma_1",
    r"\.ffn\.w12\.": ".mlp.fc1.",
    r"\.ffn\.w3\.": ".mlp.fc2.",
    r"\.ln([12])\.": r".norm\1.",
    r"^ln1\.": "norm.",
}

PACKED_KEYS: KeyTable = {r"\.mlp\.w12\.": ".mlp.fc1.", r"\.mlp\.w3\.": ".mlp.fc2."}
"""Of EVA-02's small networks, whose gate and value are one layer."""

NOT_USED = re.compile(
    r"(mask_token|lm_head\..*|projectors\..*|local_cls_norm\..*|.*\.bias_mask|(.*\.)?rope(?!\.freqs$).*|rope_embed\..*)"
)
"""Of pretraining only, or constants: the token of masked patches, its classifier, heads for students, rotary tables."""


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:  # noqa: ARG001
    """What only served pretraining, and constants."""
    return set(filter(NOT_USED.fullmatch, keys))


def repair_keys(state_dict: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Bring the authors' tensors into the model's keys; others stay as they are."""
    tensors = dict(state_dict)
    if "blocks.0.attn.wq.weight" in tensors:
        tensors = rename_keys(tensors, SAPIENS2_KEYS)
    tensors = rename_keys(tensors, PACKED_KEYS)
    wanted = model.state_dict().keys()
    for key in [key for key in tensors if key.endswith(("attn.q_bias", "attn.v_bias")) and key not in wanted]:
        _place_bias(key, tensors, wanted)
    # The norm behind the blocks is the one behind the pooling where the model has it there.
    if isinstance(getattr(model, "norm", None), nn.Identity):
        tensors = rename_keys(tensors, {r"^norm\.": "fc_norm."})
    return tensors


def _place_bias(key: str, tensors: dict[str, Tensor], wanted: Collection[str]) -> None:
    """A bias of queries or values goes to their layer; one of zeros is left out where the model has none."""
    stem, value = key.removesuffix("_bias"), tensors[key]
    if f"{stem}_proj.bias" in wanted:
        tensors[f"{stem}_proj.bias"] = tensors.pop(key)
    elif value.is_meta or not value.any():
        del tensors[key]
