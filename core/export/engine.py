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

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.export.compiled_model import CompiledModel
from zoo.core.export.image_engine import BatchMemory, ImageFeatures
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

    On a GPU, a batch is computed while the next is put together: it goes there from pinned memory, and its maps come
    back into such memory, neither of which anybody waits for before they are read. A batch that does not fit into the
    GPU's memory is divided.

    Args:
        model: e.g. a `FeatureListNet`, or `pooled_model` of one.
        input_size: (channels, height, width) of the images, or of some of them: norms and scales are folded if a run on
            such an image shows that the output stays the same.
        device: one of DEVICES, or "cuda:1" for the second GPU.
        precision: one of PRECISIONS, for weights and maps; "auto" is bfloat16 if the device computes in it, otherwise
            float32.
        fuse: fold batch norms and layer scales.
        channels_last: keep channels innermost in memory, which is the fastest layout for convolutions.
        compile_model: see `CompiledModel`; the first batch then takes a while, and the CPU needs a C++ compiler.

    Raises:
        UsageError: a device or precision that is unknown or not available on this machine.
    """

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
        self._fitting: dict[torch.Size, int] = {}  # the most images of a size, where not all of a batch fit
        self.batch_memory = BatchMemory()
        if _runs_beside(self.device):
            self.batch_memory = BatchMemory(underway=1, allocate=pinned_memory)
        self._compute = self._prepared(model, input_size, fuse) if isinstance(model, nn.Module) else model
        self.compiled = compile_model
        if compile_model:
            self._compute = CompiledModel(self._compute)

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
        return self._started(batch)()

    def start(self, batch: NDArray[np.float32]) -> Callable[[], list[ImageFeatures]]:
        """Begin to compute a batch (N, C, H, W). The function returned waits for the features of each image."""
        wait = self._started(torch.from_numpy(batch))

        def features() -> list[ImageFeatures]:
            maps = wait()
            counts = count_nonfinite(maps)
            arrays = [m.numpy() for m in maps]
            return [ImageFeatures([a[row] for a in arrays], count) for row, count in enumerate(counts)]

        return features

    def _started(self, batch: Tensor) -> Callable[[], list[Tensor]]:
        beside = _runs_beside(self.device)
        with torch.inference_mode(), _exact_arithmetic(self.device):
            # The dtype changes on the device: changed on the way, a copy would not be one that nobody waits for.
            placed = batch.to(self.device, non_blocking=beside)
            ready = placed.to(dtype=self.dtype, memory_format=self.memory_format)
            found = [m.to(torch.float32).contiguous() for m in self._divided(ready)]
            maps = [m.to("cpu", non_blocking=beside) for m in found]
        wait = end_of_work(self.device) if beside else None

        def finished() -> list[Tensor]:
            if wait is not None:
                wait()
            return maps

        return finished

    def _divided(self, batch: Tensor) -> list[Tensor]:
        """The maps of a batch, computed in parts if it does not fit into the memory of a GPU."""
        size = batch.shape[1:]
        while True:
            parts = batch.split(self._fitting.get(size, len(batch)))
            try:
                found = [self._compute(part) for part in parts]
                return [level[0] if len(level) == 1 else torch.cat(level) for level in zip(*found, strict=True)]
            except torch.OutOfMemoryError as error:
                reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
            # Here the error is gone, and with it what it kept in memory.
            if len(parts[0]) == 1:
                raise InvalidInputError(
                    f"The memory of {self.device} does not hold one image of {size[1]} x {size[2]} pixels: {reason}.",
                    hint="Cut tiles (--tile), choose --precision bfloat16, or compute on the CPU (--device cpu).",
                )
            torch.cuda.empty_cache()
            self._fitting[size] = len(parts[0]) // 2

    def to_dict(self) -> dict[str, Any]:
        """The settings that affect the output values, as plain values for a `config.json`."""
        order = "channels last" if self.memory_format is torch.channels_last else "channels first"
        return {
            "device": self.device.type,
            "precision": self.precision,
            "folded_norms": self.folded_norms,
            **({"folded_scales": self.folded_scales} if self.folded_scales else {}),
            "memory": order,
            **({"compiled": True} if self.compiled else {}),
        }


def _runs_beside(device: torch.device) -> bool:
    """Whether a device computes on its own while this process goes on."""
    return device.type == "cuda"


def pinned_memory(size: int) -> NDArray[np.float32]:
    """Memory for so many numbers that a GPU reads by itself (https://docs.pytorch.org/docs/stable/notes/cuda.html)."""
    return torch.empty(size, pin_memory=True).numpy()


def end_of_work(device: torch.device) -> Callable[[], None]:
    """A function that waits for what a GPU was told to do until now."""
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event.synchronize


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
