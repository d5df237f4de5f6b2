"""Published checkpoints of EVA and its kin whose keys are not the model's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.models.key_table import KeyTable, rename_keys

# Perception Encoder.
PE_KEYS: KeyTable = {
    r"^conv1\.": "patch_embed.proj.",
    r"^positional_embedding$": "pos_embed",
    r"^class_embedding$": "cls_token",
    r"^transformer\.resblocks\.": "blocks.",
    r"^ln_pre\.": "norm_pre.",
    r"^ln_post\.": "norm.",
    r"\.ln_([12])\.": r".norm\1.",
    r"\.ls_([12])\.gamma$": r".gamma_\1",
    r"^attn_pool\.attn\.": "attn_pool.",
    r"^attn_pool\.layernorm\.": "attn_pool.norm.",
    r"^attn_pool\.probe$": "attn_pool.latent",
    r"\.in_proj_": ".qkv.",
    r"\.out_proj\.": ".proj.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
}

# Sapiens2; what it shares with DINOv3 and EVA-02 follows below.
SAPIENS2_KEYS: KeyTable = {
    r"^patch_embed\.projection\.": "patch_embed.proj.",
    r"\.attn\.w([qkv])\.": r".attn.\1_proj.",
    r"\.attn\.gamma\.weight$": ".gamma_1",
    r"\.ffn\.": ".mlp.",
    r"\.ln([12])\.": r".norm\1.",
    r"^ln1\.": "norm.",
}

OTHER_KEYS: KeyTable = {
    r"^storage_tokens$": "reg_token",
    r"\.ls([12])\.gamma$": r".gamma_\1",
    r"\.mlp\.ffn_ln\.": ".mlp.norm.",
    r"\.attn\.inner_attn_ln\.": ".attn.norm.",
    r"\.mlp\.w12\.": ".mlp.fc1.",
    r"\.mlp\.w1\.": ".mlp.fc1_g.",
    r"\.mlp\.w2\.": ".mlp.fc1_x.",
    r"\.mlp\.w3\.": ".mlp.fc2.",
}

NOT_USED = re.compile(
    r"(mask_token|lm_head\..*|projectors\..*|local_cls_norm\..*|.*\.bias_mask|(.*\.)?rope(?!\.freqs$).*|rope_embed\..*)"
)
"""Of pretraining only, or constants: the token of masked patches, its classifier, heads for students, rotary tables."""

TOWERS = ("visual.trunk.", "visual.")
"""Where CLIP's files hold the network of images."""


def _tower(keys: Collection[str]) -> str:
    starts = ("patch_embed.proj.weight", "conv1.weight")
    return next((tower for tower in TOWERS if any(f"{tower}{start}" in keys for start in starts)), "")


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:  # noqa: ARG001
    """What only served pretraining, and the other towers."""
    tower = _tower(keys)
    return {key for key in keys if not key.startswith(tower) or NOT_USED.fullmatch(key.removeprefix(tower))}


def repair_keys(state_dict: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Bring the authors' tensors into the model's keys; others stay as they are."""
    tower = _tower(state_dict)
    tensors = {key.removeprefix(tower): value for key, value in state_dict.items()}
    if "conv1.weight" in tensors:
        tensors = _from_pe(rename_keys(tensors, PE_KEYS))
    if "blocks.0.attn.wq.weight" in tensors:
        tensors = rename_keys(tensors, SAPIENS2_KEYS)
    tensors = rename_keys(tensors, OTHER_KEYS)
    wanted = model.state_dict().keys()
    for key in [key for key in tensors if key.endswith(".attn.qkv.bias") and key not in wanted]:
        _part_bias(key, tensors, wanted)
    if "blocks.0.attn.q_proj.weight" in tensors:
        tensors = rename_keys(tensors, {r"\.attn\.([qv])_bias$": r".attn.\1_proj.bias"})
    # The norm behind the blocks is the one behind the pooling where the model has it there.
    if isinstance(getattr(model, "norm", None), nn.Identity):
        tensors = rename_keys(tensors, {r"^norm\.": "fc_norm."})
    return tensors


def _part_bias(key: str, tensors: dict[str, Tensor], wanted: Collection[str]) -> None:
    """DINOv3's one bias: that of keys is zero, and where the model has none, so are the others."""
    q_bias, _, v_bias = tensors.pop(key).chunk(3)
    layer = key.removesuffix("qkv.bias")
    if f"{layer}q_bias" in wanted:
        tensors[f"{layer}q_bias"], tensors[f"{layer}v_bias"] = q_bias, v_bias


def _from_pe(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The shapes that Perception Encoder has otherwise; the projection to its embedding is a classifier."""
    for name, new_axes in {"pos_embed": (0,), "cls_token": (0, 0)}.items():
        for axis in new_axes:
            if name in tensors:
                tensors[name] = tensors[name].unsqueeze(axis)
    if "proj" in tensors:
        tensors["head.weight"] = tensors.pop("proj").T
        tensors["head.bias"] = torch.zeros_like(tensors["head.weight"][:, 0])
    for kind in ("weight", "bias"):
        fused = tensors.pop(f"attn_pool.qkv.{kind}", None)
        if fused is not None:
            size = len(fused) // 3
            tensors[f"attn_pool.q.{kind}"], tensors[f"attn_pool.kv.{kind}"] = fused[:size], fused[size:]
    return tensors
