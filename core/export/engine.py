"""The engine that computes features: a copy of the model, optimised for inference on one device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.core.export.image_engine import ImageFeatures
from zoo.core.model.folding import fold_into_layers

FeatureModel = Callable[[Tensor], Sequence[Tensor]]
"""Image batch (N, C, H, W) -> maps (N, channels, h, w), or pooled (N, channels)."""

DEVICES = ("cpu", "cuda", "mps")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class FeatureEngine:
    """Image batch (N, C, H, W), float32 on the CPU -> maps, float32 on the CPU, contiguous.

    The given model stays unchanged: the engine has its own copy, in evaluation mode, with batch norms and layer scales
    folded into the preceding layers, on its device and in its precision. A callable that is not a module is called as
    it is.

    Args:
        model: e.g. a `FeatureListNet`, or `pooled_model` of one.
        input_size: (channels, height, width) of the images, or of some of them: norms and scales are folded if a run on
            such an image shows that the output stays the same.
        device: one of DEVICES, or "cuda:1" for the second GPU.
        precision: one of PRECISIONS, for weights and maps; "auto" is bfloat16 if the device computes in it, otherwise
            float32.
        fuse: fold batch norms and layer scales.
        channels_last: keep channels innermost in memory, which is the fastest layout for convolutions.
        compile_model: use torch.compile; the first batch then takes a while, and the CPU needs a C++ compiler.

    Raises:
        UsageError: a device or precision that is unknown or not available on this machine.
    """

    channels_innermost = True

    def __init__(
        self,
        model: FeatureModel,
        input_size: tuple[int, int, int],
        *,
        device: str = "cpu",
        precision: str = "float32",
        fuse: bool = True,
        channels_last: bool = True,
        compile_model: bool = False,
    ) -> None:
        self.device = find_device(device)
        self.precision = choose_precision(precision, self.device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.folded_norms = self.folded_scales = 0
        self.notes: tuple[str, ...] = ()
        self.compiles = compile_model
        self._compute = self._prepared(model, input_size, fuse) if isinstance(model, nn.Module) else model
        if compile_model:
            self._compute = torch.compile(self._compute)

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.precision]

    def _prepared(self, model: nn.Module, input_size: tuple[int, int, int], fuse: bool) -> FeatureModel:
        example = torch.randn(1, *input_size, generator=torch.Generator().manual_seed(0))
        like = next(model.parameters(), example)
        if fuse and like.dtype in (torch.float32, torch.float64):
            prepared, self.folded_norms, self.folded_scales, note = fold_into_layers(model, example.to(like))
            self.notes += (note,) if note else ()
        else:
            prepared = copy.deepcopy(model).eval()
        placed: Any = prepared.requires_grad_(False).to(self.device, self.dtype)
        return placed.to(memory_format=self.memory_format)  # type: ignore[no-any-return]

    def __call__(self, batch: Tensor) -> list[Tensor]:
        with torch.inference_mode(), _exact_arithmetic(self.device):
            ready = batch.to(device=self.device, dtype=self.dtype, memory_format=self.memory_format)
            maps = self._first_compiled(ready) if self.compiles else self._compute(ready)
            return [m.to("cpu", torch.float32).contiguous() for m in maps]

    def _first_compiled(self, batch: Tensor) -> Sequence[Tensor]:
        """Run a compiled model for the first time, which compiles it."""
        try:
            maps = self._compute(batch)
        except Exception as error:  # compiler exceptions of many kinds
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UsageError(
                f"The model could not be compiled: {reason}.",
                hint="Leave out --compile; on the CPU it needs a C++ compiler.",
            ) from error
        self.compiles = False
        return maps

    def per_image(self, batch: NDArray[np.float32]) -> list[ImageFeatures]:
        """The features of each image in a batch (N, C, H, W)."""
        maps = self(torch.from_numpy(batch))
        counts = count_nonfinite(maps)
        arrays = [m.numpy() for m in maps]
        return [ImageFeatures([a[row] for a in arrays], count) for row, count in enumerate(counts)]

    def to_dict(self) -> dict[str, Any]:
        """The settings that affect the output values, as plain values for a `config.json`."""
        order = "channels last" if self.memory_format is torch.channels_last else "channels first"
        return {
            "device": self.device.type,
            "precision": self.precision,
            "folded_norms": self.folded_norms,
            **({"folded_scales": self.folded_scales} if self.folded_scales else {}),
            "memory": order,
        }


def find_device(name: str) -> torch.device:
    """The device of this name. Raises UsageError if there is none."""
    kind, _, number = name.partition(":")
    if kind not in DEVICES or (number and not number.isdecimal()):
        raise UsageError(f"A device is one of {', '.join(DEVICES)} (or cuda:1), not {name!r}.")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= found:
        raise UsageError(
            f"The device {name!r} was asked for, but PyTorch {torch.__version__} finds {found} of its kind "
            "on this machine.",
            hint="Choose --device cpu, or install a PyTorch that is built for the device.",
        )
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """The precision to compute in. Raises UsageError if it is unknown or not supported by the device."""
    if name == "auto":
        return "bfloat16" if computes_bfloat16(device) else "float32"
    if name not in PRECISIONS:
        raise UsageError(f"A precision is one of auto, {', '.join(PRECISIONS)}, not {name!r}.")
    try:
        torch.ones(1, device=device, dtype=PRECISIONS[name]).add_(1)
    except (RuntimeError, TypeError) as error:
        hint = "Choose --precision float32."
        raise UsageError(f"The device {device.type!r} does not compute in {name}.", hint=hint) from error
    return name


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16 rather than through float32."""
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _exact_arithmetic(device: torch.device) -> AbstractContextManager[None]:
    """Turn off TF32 and nondeterminism: CUDA otherwise rounds float32 convolutions, and they may vary between runs."""
    if device.type != "cuda":
        return nullcontext()
    flags = torch.backends.cudnn.flags
    return flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def count_nonfinite(maps: Sequence[Tensor]) -> list[int]:
    """The number of NaN and infinite values per image, over all maps (N, ...)."""
    # A finite sum proves finite summands, in a fraction of the time that counting takes.
    if all(m.sum().isfinite() for m in maps):
        return [0] * len(maps[0])
    counts = torch.stack([(~m.isfinite()).flatten(1).sum(1) for m in maps]).sum(0)
    return [int(count) for count in counts]
