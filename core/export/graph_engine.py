"""Engines that run a model as a graph: ONNX Runtime and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.core.errors import UsageError
from zoo.core.export.engine import computes_bfloat16
from zoo.core.export.image_engine import BatchMemory, ImageFeatures
from zoo.core.extras import has_package
from zoo.core.graphs.cache import verified_graph
from zoo.core.graphs.network import plain_network
from zoo.core.graphs.runtimes import RUNTIMES, Runner
from zoo.core.images.preprocess import Preprocess

WORTHWHILE = 256
"""The number of images from which on writing a graph takes less time than it saves, on an ordinary machine."""


class GraphEngine:
    """Image batch (N, C, H, W), float32 -> maps, float32, computed by another program than torch.

    Args:
        model: images -> a sequence of tensors, as for `FeatureEngine`.
        preprocess: the transform of its weights, for the images that it is verified with.
        size: height and width of the images, or of some of them.
        names: the names of its outputs.
        runtime: one of RUNTIMES.
        precision: "float32", or another that the runtime computes in.
        facts: what the numbers follow from, see `verified_graph`.
        any_size: whether images may have other sizes than `size`.

    Raises:
        UsageError: the runtime does not compute in this precision.
        InvalidInputError: it is not installed, the model cannot be exported, or the graph gives other numbers.
    """

    batch_memory = BatchMemory(channels_innermost=False)

    def __init__(
        self,
        model: Any,
        preprocess: Preprocess,
        size: tuple[int, int],
        names: Sequence[str],
        *,
        runtime: str,
        precision: str = "float32",
        facts: Mapping[str, Any] | None = None,
        any_size: bool = False,
    ) -> None:
        self.runtime, self.precision = runtime, choose_graph_precision(runtime, precision)
        threads = torch.get_num_threads()
        network = plain_network(model, preprocess.in_chans, size, names)
        dynamic = frozenset(("batch", "size") if any_size else ("batch",))
        with verified_graph(network, preprocess, runtime, facts=facts or {}, dynamic=dynamic, threads=threads) as graph:
            self._run: Runner = RUNTIMES[runtime].open(graph, self.precision, threads)

    def start(self, batch: NDArray[np.float32]) -> Callable[[], list[ImageFeatures]]:
        """Compute a batch (N, C, H, W) at once. The function returned gives the features of each image."""
        maps = self._run(batch)
        counts = _count_nonfinite(maps)
        features = [ImageFeatures([m[row] for m in maps], count) for row, count in enumerate(counts)]
        return lambda: features

    def to_dict(self) -> dict[str, Any]:
        """The settings that affect the output values, as plain values for a `config.json`."""
        return {"device": "cpu", "runtime": self.runtime, "precision": self.precision}


def choose_runtime(name: str, precision: str, device: str, num_images: int) -> str:
    """The runtime to compute with; "auto" takes one that is installed if there are images enough for it.

    Args:
        name: "torch", one of RUNTIMES, or "auto".
        precision: as for the engines.
        device: where torch would compute; the others compute on the CPU.
        num_images: how many images there are.

    Raises UsageError: an unknown name, or a device that the runtime does not know.
    """
    if name not in ("torch", "auto", *RUNTIMES):
        raise UsageError(f"A runtime is one of torch, {', '.join(RUNTIMES)}, auto, not {name!r}.")
    if name in RUNTIMES and device != "cpu":
        raise UsageError(
            f"The runtime {name} computes on the CPU, and the device {device!r} was asked for.",
            hint="Leave out --device, or choose --runtime torch.",
        )
    if name != "auto":
        return name
    if device != "cpu" or num_images < WORTHWHILE:
        return "torch"
    wanted = "bfloat16" if precision == "auto" and computes_bfloat16(torch.device("cpu")) else precision
    wanted = "float32" if wanted == "auto" else wanted
    fitting = [key for key, one in RUNTIMES.items() if wanted in one.precisions and has_package(one.package)]
    return fitting[0] if fitting and has_package("onnxscript") else "torch"


def choose_graph_precision(runtime: str, name: str) -> str:
    """The precision that a runtime computes in. Raises UsageError for one that it does not have."""
    precisions = RUNTIMES[runtime].precisions
    if name == "auto":
        return "bfloat16" if "bfloat16" in precisions and computes_bfloat16(torch.device("cpu")) else "float32"
    if name not in precisions:
        raise UsageError(
            f"The runtime {runtime} computes in {' or '.join(precisions)}, not in {name}.",
            hint="Choose --runtime openvino for bfloat16, or --runtime torch."
            if name == "bfloat16"
            else "Choose --runtime torch.",
        )
    return name


def _count_nonfinite(maps: Sequence[NDArray[np.float32]]) -> list[int]:
    """The number of NaN and infinite values per image, over all maps (N, ...)."""
    with np.errstate(all="ignore"):
        # A finite sum proves finite summands, in a fraction of the time that counting takes.
        if all(np.isfinite(m.sum()) for m in maps):
            return [0] * len(maps[0])
    return [int(sum(np.count_nonzero(~np.isfinite(m[row])) for m in maps)) for row in range(len(maps[0]))]
