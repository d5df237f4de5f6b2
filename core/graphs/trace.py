"""Record a network as a graph of tensor operations."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor

from zoo.core.errors import InvalidInputError, ZooError
from zoo.core.graphs.network import GraphNetwork

_MOST_WORDS = 200
TRACED_BATCH = 2
"""A graph that was recorded with one image would hold for one image alone (pytorch/pytorch#157621)."""


def trace(network: GraphNetwork, images: Tensor, dynamic: frozenset[str]) -> Any:
    """The `torch.export.ExportedProgram` of a network.

    Args:
        network: what is recorded.
        images: an example; TRACED_BATCH of them if the batch is dynamic.
        dynamic: which of `request.DYNAMIC` stay open.

    Raises InvalidInputError if the network cannot be recorded, or not with these open; and what the network itself says
    of images that it does not take.
    """
    anything = torch.export.Dim.DYNAMIC
    shape: dict[int, Any] = {0: anything} if "batch" in dynamic else {}
    if "size" in dynamic or network.takes_pixels:
        shape |= {2: anything, 3: anything}
    try:
        with quiet_export(), _without_gradients(network.module):
            return torch.export.export(network.module, (images,), dynamic_shapes=(shape,), strict=False)
    except ZooError:
        raise
    except Exception as error:  # of many kinds, torch's own among them
        raise cannot_export(error, dynamic) from error


@contextmanager
def _without_gradients(module: torch.nn.Module) -> Iterator[None]:
    """Parameters as they are for inference: attention takes another path, with other strides, if its bias learns."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with torch.no_grad():
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def cannot_export(error: Exception, dynamic: frozenset[str]) -> InvalidInputError:
    """The error for a network that torch cannot turn into a graph, with the reason that it gives."""
    hint = "Compute features with zoo itself: `zoo export-features` needs no graph."
    if "size" in dynamic:
        hint = "Leave size out of --dynamic: many networks are made for images of one size."
    return InvalidInputError(f"The model cannot be exported: {reason_of(error)}.", hint=hint)


def reason_of(error: BaseException) -> str:
    """The first sentence of what an exporter says, which may be pages long."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"\x1b\[[0-9;]*m", "", lines[0] if lines else type(error).__name__)
    return text[:_MOST_WORDS].rstrip(".: ")


@contextmanager
def quiet_export() -> Iterator[None]:
    """Silence what the exporters write while they work: progress, graphs, missing packages, deprecations."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
