"""Published checkpoints of vision transformers whose keys are not the model's."""

from __future__ import annotations

import re
from collections.abc import Collection, MutableMapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.errors import InvalidInputError
from zoo.models.key_table import KeyTable, rename_keys

StateDict = MutableMapping[str, Tensor]

# Google's arrays (https://github.com/google-research/vision_transformer and .../big_vision).
NPZ_KEYS: KeyTable = {
    r"^(opt/target/|params/(img/)?)": "",
    r"^embedding/": "patch_embed.proj/",
    r"^cls$": "cls_token",
    r"^(Transformer/posembed_input/)?pos_embedding$": "pos_embed",
    r"^Transformer/encoder_norm/": "norm/",
    r"^Transformer/encoderblock_(\d+)/": r"blocks.\1.",
    r"^MAPHead_0/LayerNorm_0/": "attn_pool.norm/",
    r"^MAPHead_0/MultiHeadDotProductAttention_0/": "attn_pool.",
    r"^MAPHead_0/probe$": "attn_pool.latent",
    r"^MAPHead_0/": "attn_pool.",
    r"MultiHeadDotProductAttention_\d/": "attn.",
    r"LayerNorm_0/": "norm1/",
    r"LayerNorm_[12]/": "norm2/",
    r"MlpBlock_\d/Dense_0/": "mlp.fc1/",
    r"MlpBlock_\d/Dense_1/": "mlp.fc2/",
    r"\bout/": "proj/",
    r"/(kernel|scale)$": ".weight",
    r"/bias$": ".bias",
}

# Layers that are one in the model and several in the arrays, in this order.
FUSED = {
    "attn.qkv": ("attn.query", "attn.key", "attn.value"),
    "attn_pool.q": ("attn_pool.query",),
    "attn_pool.kv": ("attn_pool.key", "attn_pool.value"),
}

OLDER_KEYS: KeyTable = {
    r"\.gamma_([12])$": r".ls\1.gamma",  # DeiT III
    r"\.mlp\.w12\.": ".mlp.fc1.",  # DINOv2
    r"\.mlp\.w3\.": ".mlp.fc2.",
}

NOT_USED = re.compile(r"(opt/target/)?pre_logits[./].*|mask_token")
"""Of pretraining only: the layer before its classifier, the token of masked patches."""


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:  # noqa: ARG001
    """What only served pretraining."""
    return set(filter(NOT_USED.fullmatch, keys))


def repair_keys(state_dict: StateDict, model: nn.Module) -> StateDict:
    """Bring Google's arrays, DINOv2's and DeiT III's tensors into the model's keys; others stay as they are."""
    if any(key.endswith("embedding/kernel") for key in state_dict):
        state_dict = _from_arrays(state_dict)
    if "register_tokens" in state_dict:
        state_dict = _without_embedded_class(state_dict)
    state_dict = rename_keys(state_dict, OLDER_KEYS)
    # The norm behind the blocks is the one behind the pooling where the model has it there.
    if isinstance(getattr(model, "norm", None), nn.Identity):
        state_dict = rename_keys(state_dict, {r"^norm\.": "fc_norm."})
    return state_dict


def _without_embedded_class(state_dict: StateDict) -> StateDict:
    """Registers of DINOv2: the class token takes in its own position, the positions are of patches alone."""
    state_dict = dict(state_dict)
    positions = state_dict["pos_embed"]
    state_dict["reg_token"] = state_dict.pop("register_tokens")
    state_dict["cls_token"] = state_dict["cls_token"] + positions[:, :1]
    state_dict["pos_embed"] = positions[:, 1:]
    return state_dict


def _from_arrays(arrays: StateDict) -> StateDict:
    renamed = rename_keys(_unstacked(arrays), NPZ_KEYS)
    tensors = {key: _matrix(key, value) for key, value in renamed.items()}
    for key in list(tensors):
        for fused, parts in FUSED.items():
            layer, _, kind = key.rpartition(".")
            if layer.endswith(parts[0]):
                names = [f"{layer.removesuffix(parts[0])}{part}.{kind}" for part in parts]
                if not all(name in tensors for name in names):
                    raise InvalidInputError(f"The arrays should hold {', '.join(names)}, found only some of them.")
                found = [tensors.pop(name) for name in names]
                tensors[f"{layer.removesuffix(parts[0])}{fused}.{kind}"] = torch.cat(found)
    return tensors


def _unstacked(arrays: StateDict) -> StateDict:
    """Blocks that are stacked along a first axis, as a scan over them makes them, one by one."""
    single: StateDict = {}
    for key, value in arrays.items():
        before, stacked, after = key.partition("Transformer/encoderblock/")
        if not stacked:
            single[key] = value
            continue
        for depth, part in enumerate(value):
            single[f"{before}Transformer/encoderblock_{depth}/{after}"] = part
    return single


def _matrix(key: str, value: Tensor) -> Tensor:
    """An array as torch has it: outputs first, heads flattened."""
    layer, _, kind = key.rpartition(".")
    if kind == "bias":
        return value.flatten()
    if kind != "weight" or value.ndim < 2:
        return value
    if value.ndim == 4:  # (height, width, in, out)
        return value.permute(3, 2, 0, 1).contiguous()
    if value.ndim == 3:  # (in, heads, D), or (heads, D, out) behind the heads
        value = value.flatten(0, 1) if layer.endswith("proj") else value.flatten(1)
    return value.T.contiguous()
