"""Compare a graph with the model in torch that it was made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.graphs.network import GraphNetwork, example_images
from zoo.core.graphs.runtimes import Runner
from zoo.core.graphs.trace import TRACED_BATCH
from zoo.core.images.preprocess import Preprocess

_BATCHES = (1, TRACED_BATCH + 1)


class Verified(NamedTuple):
    """The result of a comparison.

    Args:
        runtime: the program that ran the graph.
        shapes: the batches that it ran on, (images, channels, height, width).
        difference: the largest difference, as a part of the largest number of an output.
        output: the output that has it.
    """

    runtime: str
    shapes: tuple[tuple[int, ...], ...]
    difference: float
    output: str


def verify(
    runner: Runner,
    reference: GraphNetwork,
    preprocess: Preprocess,
    *,
    runtime: str,
    dynamic: frozenset[str],
    tolerance: float,
) -> Verified:
    """Run a graph and the network on the same images: two numbers of them, and two sizes, where these are open.

    Args:
        runner: runs the graph.
        reference: the network in float32, unfused.
        preprocess: the transform of the weights.
        runtime: the name of what runs the graph.
        dynamic: what the graph leaves open.
        tolerance: the largest difference, as a part of the largest number of an output.

    Raises InvalidInputError if an output has another shape, is not finite, or differs by more.
    """
    batches = _BATCHES if "batch" in dynamic else (1,)
    sizes = sizes_to_try(reference, dynamic)
    cases = dict.fromkeys([(batches[0], sizes[0]), (batches[-1], sizes[-1])])
    shapes, differences = [], []
    for number, size in cases:
        images = example_images(reference, preprocess, number, size)
        shapes.append(tuple(images.shape))
        pairs = zip(reference.outputs, runner(images.numpy()), _run(reference, images), strict=True)
        differences += [(relative_difference(found, expected, name), name) for name, found, expected in pairs]
    worst, output = max(differences, key=lambda pair: math.inf if math.isnan(pair[0]) else pair[0])
    if math.isnan(worst):
        raise InvalidInputError(
            f"The graph cannot be compared: its {output}, or that of the model in torch, is not finite.",
            hint="`zoo inspect FILE --stats` shows weights that are not. In float16 numbers beyond 65504 are infinite.",
        )
    if not worst <= tolerance:
        raise InvalidInputError(
            f"The graph in {runtime} differs from the model in torch by {worst:.1e} of the largest number of {output}, "
            f"more than {tolerance:.0e}; nothing was written.",
            hint=f"If that is good enough, allow it: --tolerance {worst * 1.2:.1e}" if worst < 1 / 1.2 else "",
        )
    return Verified(runtime, tuple(shapes), worst, output)


def sizes_to_try(network: GraphNetwork, dynamic: frozenset[str]) -> list[tuple[int, int]]:
    """Heights and widths of images: the network's, and a larger one that is not square, if any size will do."""
    height, width = network.size
    if network.takes_pixels:
        return [(height + 37, width * 2), (height * 2, width + 51)]
    return [(height, width), (height + 64, width + 128)] if "size" in dynamic else [(height, width)]


def _run(network: GraphNetwork, images: torch.Tensor) -> Sequence[NDArray[np.float32]]:
    with torch.inference_mode():
        found = network.module(images)
    return [m.numpy() for m in ([found] if isinstance(found, torch.Tensor) else found)]


def relative_difference(found: NDArray[Any], expected: NDArray[Any], name: str) -> float:
    """The largest difference, as a part of the largest expected number; NaN if a number is not finite.

    Raises InvalidInputError if the shapes differ.
    """
    if found.shape != expected.shape:
        raise InvalidInputError(f"The graph gives {name} as {found.shape}, the model in torch as {expected.shape}.")
    scale = max(float(np.abs(expected).max(initial=0)), float(np.finfo(np.float32).tiny))
    return float(np.abs(found - expected).max(initial=0)) / scale
