"""What a graph of a model is to be: its format, its inputs and outputs, its numbers. Standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from zoo.core.errors import UsageError

Format = Literal["onnx", "pt2", "openvino"]

OUTPUTS = ("logits", "features", "embedding")
"""Logits (N, classes); a map (N, channels, h, w) for each level; the vector (N, channels) that the classifier reads."""

DTYPES = ("float32", "float16")

PREPROCESS = ("none", "normalize", "full")
"""What the graph does to an image first: nothing, it is normalised already; subtract the mean and divide by the
deviation, of values from 0 to 1; or resize, crop and normalise 8-bit pixels of any size."""

DYNAMIC = ("batch", "size")

OPSETS = range(18, 26)
"""The versions of ONNX's operators that the exporter writes."""
DEFAULT_OPSET = 18

TOLERANCES = {"float32": 1e-5, "float16": 2e-2}
"""The largest difference from the model in torch, as a part of the largest number of an output."""

_ENDINGS: dict[str, Format] = {".onnx": "onnx", ".pt2": "pt2", "": "openvino"}


@dataclass(frozen=True, kw_only=True)
class GraphRequest:
    """How to write a model as a graph.

    Args:
        output: a .onnx or .pt2 file, or a folder, which is for OpenVINO.
        outputs: one of OUTPUTS.
        out_indices: the levels of "features"; None is the model's choice.
        dynamic: which of DYNAMIC the graph leaves open: the number of images, their height and width.
        img_size: height and width of the images; None for those of the weights.
        opset: version of ONNX's operators, for ONNX alone.
        dtype: of weights and computation. Inputs and outputs are float32 in any case.
        preprocess: one of PREPROCESS.
        fuse: fold batch norms into the layers before them; the weights then are not those of the checkpoint.
        verify: run the graph, and compare it with the model in torch.
        tolerance: the largest difference that verification allows; None for that of the dtype.
        force: replace an existing file that differs.

    Raises UsageError for a request that makes no sense.
    """

    output: str | os.PathLike[str]
    outputs: str = "logits"
    out_indices: tuple[int, ...] | None = None
    dynamic: frozenset[str] = frozenset({"batch"})
    img_size: tuple[int, int] | None = None
    opset: int | None = None
    dtype: str = "float32"
    preprocess: str = "none"
    fuse: bool = False
    verify: bool = True
    tolerance: float | None = None
    force: bool = False

    def __post_init__(self) -> None:
        for option, value, choices in (
            ("outputs", self.outputs, OUTPUTS),
            ("--dtype", self.dtype, DTYPES),
            ("--preprocess", self.preprocess, PREPROCESS),
        ):
            if value not in choices:
                raise UsageError(f"{option} takes one of {', '.join(choices)}, found {value!r}.")
        if wrong := sorted(self.dynamic.difference(DYNAMIC)):
            raise UsageError(
                f"--dynamic takes batch, size or both, found {wrong[0]!r}.", hint="For example: batch,size"
            )
        if self.out_indices is not None and self.outputs != "features":
            raise UsageError("--out-indices chooses feature levels.", hint="Pass --features too.")
        if self.opset is not None and self.format != "onnx":
            raise UsageError("--opset is about ONNX.", hint="Leave it out, or name a file that ends in .onnx.")
        if self.opset is not None and self.opset not in OPSETS:
            raise UsageError(
                f"--opset takes a version from {OPSETS[0]} to {OPSETS[-1]}, found {self.opset}.",
                hint=f"Leave it out: {DEFAULT_OPSET} is understood by most programs.",
            )
        if self.preprocess == "full" and "size" in self.dynamic:
            raise UsageError(
                "With --preprocess full the graph resizes images of any size itself.",
                hint="Leave size out of --dynamic.",
            )
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise UsageError(f"--tolerance takes a number between 0 and 1, found {self.tolerance:g}.")

    @property
    def format(self) -> Format:
        """The format that the output's name stands for. Raises UsageError."""
        name = os.fspath(self.output)
        ending = os.path.splitext(name.rstrip("/"))[1] if not os.path.isdir(name) else ""
        if ending not in _ENDINGS:
            raise UsageError(
                f"The output's ending tells its format: .onnx, .pt2, or none for a folder of OpenVINO; not {name!r}.",
                hint="For example: -o model.onnx",
            )
        return _ENDINGS[ending]

    @property
    def largest_difference(self) -> float:
        """The tolerance of verification."""
        return TOLERANCES[self.dtype] if self.tolerance is None else self.tolerance
