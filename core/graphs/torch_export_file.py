"""Write recorded networks in the format of torch.export, .pt2: a zip archive with the graph and the weights."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch

from zoo.core.graphs.trace import quiet_export

_OF_THIS_MACHINE = ("stack_trace", "source_fn_stack", "nn_module_stack", "torch_fn", "from_node")
"""What the recorder keeps of where in Python an operation came from: paths of this machine among it."""


def pt2_bytes(program: Any, metadata: Mapping[str, str]) -> bytes:
    """A recorded network as the bytes of a .pt2 archive, the same in every run.

    Args:
        program: from `trace`; loses the records of its Python sources.
        metadata: goes into the archive's extra files, a file each.
    """
    for node in program.graph.nodes:
        for key in _OF_THIS_MACHINE:
            node.meta.pop(key, None)
    target = io.BytesIO()
    with quiet_export():
        torch.export.save(program, target, extra_files=dict(sorted(metadata.items())))
    return target.getvalue()


def read_pt2(data: bytes) -> Any:
    """The program in an archive that `pt2_bytes` made."""
    with quiet_export():
        return torch.export.load(io.BytesIO(data))
