"""Join the branches and norms of a checkpoint for inference, with the proof that the outputs stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.model.build import create_model
from zoo.core.model.load import load_tensors
from zoo.core.model.reparameterize import fuse_modules
from zoo.core.model.save import stored_tensors, tensors_of
from zoo.core.model.state_dict import TORCH_DTYPES
from zoo.models.base import ImageModel

LARGEST_DIFFERENCE = 1e-6
"""Of outputs in float64, relative to the largest number in them: a wrong kernel shows as 1e-3 and more."""
_FLOATS = {dtype: TORCH_DTYPES[dtype] for dtype in ("F16", "BF16", "F32", "F64")}


class Fused(NamedTuple):
    """The tensors of the form for inference, and how near its outputs are to those of the source.

    Args:
        tensors: with timm's names of this form.
        cfg: says where its first layer and its classifiers are.
        difference: the largest of the outputs for one random image in float64, relative to the largest of them.
        rounding: the same after the weights are rounded to the dtypes of `tensors`.
        dropped: names in the source that have no place in the model.
    """

    tensors: Sequence[StoredTensor]
    cfg: PretrainedCfg
    difference: float
    rounding: float
    dropped: tuple[str, ...]


def fuse_tensors(
    tensors: Mapping[str, StoredTensor],
    cfg: PretrainedCfg,
    source: str,
    *,
    num_classes: int,
    model_args: Mapping[str, Any],
    dtype: str = "",
) -> Fused:
    """Compute the form for inference in float64, and compare its outputs with those of the form that is trained.

    The model is in memory once, in float64, and changed in place. A tensor keeps the dtype that it has in the source; a
    new one gets that of most weights.

    Args:
        tensors: of the form that is trained, in timm's layout.
        cfg: the architecture, with the channels and the image size of the tensors.
        source: the file, for messages.
        num_classes, model_args: what the model is built with.
        dtype: dtype of all floating-point tensors instead: F16, BF16, F32 or F64.

    Raises InvalidInputError if the tensors are not the model's, hold NaN or infinities, do not fit the dtype, or the
    outputs differ by more than LARGEST_DIFFERENCE.
    """
    for tensor in tensors.values():
        if tensor.dtype[0] in "BF" and tensor.dtype not in (*_FLOATS, "BOOL"):
            raise InvalidInputError(
                f"{tensor.name[:80]} of {source} holds {tensor.dtype}, which no norm can be joined to.",
                hint="Convert the file with --dtype float32 first.",
                path=source,
            )
    model: ImageModel = create_model(
        cfg.architecture,
        pretrained_cfg=cfg,
        in_chans=cfg.input_size[0],
        num_classes=num_classes,
        device="meta",
        **model_args,
    )
    report = load_tensors(model, tensors_of(tensors.values()), source)
    model.double().eval()
    image = torch.randn(1, *cfg.input_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = _output(model, image)
    fuse_modules(model)
    difference = _difference(_output(model, image), before)
    if not difference <= LARGEST_DIFFERENCE:  # nor is NaN
        raise InvalidInputError(
            f"The outputs of {source} would differ by {difference:.1e} of the largest one"
            if isfinite(difference)
            else f"{source} gives outputs that are not finite, so that two forms cannot be compared.",
            hint="`zoo inspect --stats` shows which tensors hold NaN, infinities or statistics near zero.",
            path=source,
        )
    state = _rounded(model, tensors, source, dtype)
    model.load_state_dict(state)
    rounding = _difference(_output(model, image), before)
    layers = model.pretrained_cfg
    cfg = replace(cfg, first_conv=layers["first_conv"], classifier=layers["classifier"])
    return Fused(stored_tensors(state), cfg, difference, rounding, report.dropped)


def _output(model: ImageModel, image: Tensor) -> Tensor:
    with torch.inference_mode():
        output: Tensor = model(image)
    return output


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected number; NaN if one is not finite."""
    return ((found - expected).abs().amax() / expected.abs().amax()).item()


def _rounded(model: ImageModel, tensors: Mapping[str, StoredTensor], source: str, dtype: str) -> dict[str, Tensor]:
    """The model's tensors in the dtypes of the file."""
    stored = Counter(tensor.dtype for tensor in tensors.values() if tensor.dtype in _FLOATS and len(tensor.shape) > 1)
    usual = dtype or stored.most_common(1)[0][0]
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            same = tensors.get(name)
            wanted = same.dtype if same is not None and not dtype and same.dtype in _FLOATS else usual
            value = value.to(_FLOATS[wanted])
            if not value.isfinite().all():
                raise InvalidInputError(
                    f"{name} of the joined form has numbers beyond {wanted}.",
                    hint="Write it with --dtype float32.",
                    path=source,
                )
        state[name] = value
    return state
