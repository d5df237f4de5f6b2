"""Loading as the published models API spells it: the same work as `core.model`'s, by other names and arguments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.channels.mixing import adapt_input, check_in_chans
from zoo.core.errors import UsageError
from zoo.core.model.named_model import named_cfg
from zoo.core.model.state_dict import read_state_dict
from zoo.weights_cache.download import fetch

RGB = 3


def load_state_dict(
    checkpoint_path: str | os.PathLike[str],
    use_ema: bool = True,
    device: str | torch.device = "cpu",
    weights_only: bool = True,  # noqa: ARG001 - nothing in a file is ever executed
) -> dict[str, Tensor]:
    """The state dict of a weight file of any kind, names without wrappers. See `read_state_dict` for the errors."""
    found = read_state_dict(Path(checkpoint_path), use_ema=use_ema)
    return found if torch.device(device).type == "cpu" else {name: value.to(device) for name, value in found.items()}


def adapt_input_conv(in_chans: int, conv_weight: Tensor, base_chans: int = RGB) -> Tensor:
    """The weight of an input convolution for other channels: summed for one, else repeated, cut and scaled by C / N.

    Args:
        in_chans: channels N of the new weight.
        conv_weight: (out, C, height, width); for one channel also (out, C * groups, height, width), as in stems that
            turn space into channels.
        base_chans: the channels C that the weight was trained for.

    Raises:
        UsageError: the weight is no 4-dimensional one of C channels, or no image has N channels.
    """
    check_in_chans(in_chans)
    shape = tuple(conv_weight.shape)
    grouped = in_chans == 1 and len(shape) == 4 and shape[1] % base_chans == 0
    if len(shape) != 4 or not (shape[1] == base_chans or grouped or in_chans == base_chans):
        raise UsageError(f"An input convolution of {base_chans} channels was expected, found the shape {shape}.")
    if in_chans == base_chans:
        return conv_weight
    weight = conv_weight.detach().float().cpu().numpy()
    groups = shape[1] // base_chans
    adapted = adapt_input(weight.reshape(shape[0] * groups, base_chans, *shape[2:]), in_chans)
    return torch.from_numpy(adapted.reshape(shape[0], groups * in_chans, *shape[2:])).to(conv_weight)


def load_model_config_from_hf(model_id: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Config, architecture and build arguments that the config.json of a repository on the Hub states.

    Args:
        model_id: `owner/repository`, or `owner/repository@revision`.

    Raises NotFoundError and InvalidInputError as `named_cfg` does.
    """
    cfg = named_cfg(f"hf-hub:{model_id}")
    return cfg.to_dict(), cfg.architecture, dict(cfg.model_args)


def load_state_dict_from_hf(
    model_id: str,
    filename: str = "",
    weights_only: bool = True,  # noqa: ARG001 - nothing in a file is ever executed
) -> dict[str, Tensor]:
    """The state dict of a repository on the Hub, from the cache if it is there.

    Args:
        model_id: `owner/repository`, or `owner/repository@revision`.
        filename: the file; by default the repository's weights, safetensors first.

    Raises NotFoundError, InvalidInputError and CannotWriteError as `fetch` does.
    """
    return read_state_dict(fetch(PretrainedCfg(hf_hub_id=model_id, hf_hub_filename=filename)).path)
