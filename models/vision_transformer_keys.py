"""Published checkpoints of vision transformers whose keys are not the model's."""

from __future__ import annotations

import re
from collections.abc import Collection, MutableMapping

import torch.nn as nn
from torch import Tensor

from zoo.models.key_table import rename_keys

StateDict = MutableMapping[str, Tensor]

KEY_LAYOUTS = ("augreg", "big_vision", "dino", "timm_0")

NOT_USED = re.compile(r"(opt/target/)?pre_logits[./].*|mask_token")
"""Of pretraining only: the layer before its classifier, the token of masked patches."""


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:  # noqa: ARG001
    """What only served pretraining."""
    return set(filter(NOT_USED.fullmatch, keys))


def repair_keys(state_dict: StateDict, model: nn.Module) -> StateDict:
    """Put the norm behind the blocks behind the pooling where the model has it there; other keys stay as they are."""
    if isinstance(getattr(model, "norm", None), nn.Identity):
        return rename_keys(state_dict, {r"^norm\.": "fc_norm."})
    return state_dict
