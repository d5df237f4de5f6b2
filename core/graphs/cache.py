"""Graphs that were written and verified before, in zoo's own folder, by everything that they depend on.

A graph is stored under a digest of the weights, the outputs, the image size and the versions of what wrote it. Beside
it a small file has the graph's sha256 and the runtimes that it was compared with torch in. A graph whose bytes do not
have that sha256 counts as missing. The oldest graphs go when there are too many.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from zoo.core.errors import InvalidInputError, ZooError
from zoo.core.extras import import_extra
from zoo.core.files.atomic_output import atomic_output
from zoo.core.files.user_folders import GRAPHS, existing, state_folder
from zoo.core.graphs.network import GraphNetwork, example_images
from zoo.core.graphs.onnx_file import onnx_bytes, require_onnx
from zoo.core.graphs.request import DEFAULT_OPSET, TOLERANCES
from zoo.core.graphs.runtimes import RUNTIMES
from zoo.core.graphs.trace import TRACED_BATCH, trace
from zoo.core.graphs.verify import sizes_to_try, verify
from zoo.core.images.preprocess import Preprocess

MAX_BYTES = 4 << 30
"""The most that all stored graphs take; the one that is written last stays in any case."""
TORCH_HINT = "Choose --runtime torch, which runs any model."
_FORMAT = 1
"""Version of how graphs are written here, increased when their bytes or their meaning change."""


class _Stored(NamedTuple):
    graph: bytes
    verified: tuple[str, ...]


def verified_graph(
    network: GraphNetwork,
    preprocess: Preprocess,
    runtime: str,
    *,
    facts: Mapping[str, Any],
    dynamic: frozenset[str],
    threads: int = 0,
) -> bytes:
    """The ONNX graph of a network, which a runtime was shown to compute as torch does.

    Args:
        network: in float32.
        preprocess: the transform of its weights.
        runtime: one of RUNTIMES.
        facts: everything that the graph's numbers follow from: the weights' sha256, the architecture, the outputs.
            Empty if that is not known; the graph is then not stored.
        dynamic: what the graph leaves open, see `GraphRequest`.
        threads: for the runtime, 0 for all cores.

    Raises InvalidInputError: a package is missing, the network cannot be exported, or the graph gives other numbers.
    """
    program = RUNTIMES[runtime]
    import_extra(program.package, program.extra, f"--runtime {runtime}")
    require_onnx(program.extra)
    path = _path(_key(network, facts, dynamic)) if facts else None
    stored = None if path is None else _read(path)
    if stored is not None and runtime in stored.verified:
        return stored.graph
    graph = stored.graph if stored is not None else _made(network, preprocess, dynamic, program.extra)
    verify(
        program.open(graph, "float32", threads),
        network,
        preprocess,
        runtime=runtime,
        dynamic=dynamic,
        tolerance=TOLERANCES["float32"],
    )
    if path is not None:
        known = stored.verified if stored is not None else ()
        with suppress(OSError, ZooError):  # without a stored graph, it is made again next time
            _write(path, _Stored(graph, (*known, runtime)))
    return graph


def _made(network: GraphNetwork, preprocess: Preprocess, dynamic: frozenset[str], extra: str) -> bytes:
    images = example_images(network, preprocess, TRACED_BATCH, sizes_to_try(network, dynamic)[0])
    try:
        program = trace(network, images, dynamic)
        return onnx_bytes(program, images, network, opset=DEFAULT_OPSET, metadata={}, dynamic=dynamic, extra=extra)
    except InvalidInputError as error:
        raise InvalidInputError(error.message, hint=error.hint if "pip" in error.hint else TORCH_HINT) from error


def _key(network: GraphNetwork, facts: Mapping[str, Any], dynamic: frozenset[str]) -> str:
    from importlib.metadata import version

    shapes = [(name, list(tensor.shape)) for name, tensor in network.module.state_dict().items()]
    everything = {
        "format": _FORMAT,
        "facts": facts,
        "in_chans": network.in_chans,
        "size": network.size,
        "outputs": network.outputs,
        "dynamic": sorted(dynamic),
        "shapes": shapes,
        "versions": [torch.__version__, *(version(package) for package in ("zoo-cli", "onnx", "onnxscript"))],
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def _path(key: str) -> Path | None:
    folder = existing(state_folder)
    return folder and folder / GRAPHS / f"{key}.onnx"


def _read(path: Path) -> _Stored | None:
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        graph = path.read_bytes()
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("sha256") != hashlib.sha256(graph).hexdigest():
        return None
    return _Stored(graph, tuple(filter(RUNTIMES.__contains__, record.get("verified", ()))))


def _write(path: Path, stored: _Stored) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"sha256": hashlib.sha256(stored.graph).hexdigest(), "verified": list(stored.verified)}
    for target, data in ((path, stored.graph), (path.with_suffix(".json"), json.dumps(record).encode())):
        with atomic_output(target, force=True, sync=False) as file:
            file.write(data)
    _remove_oldest(path)


def _remove_oldest(newest: Path) -> None:
    """Keep the sum of all graphs below MAX_BYTES, without touching the one that was just written."""
    graphs = sorted(newest.parent.glob("*.onnx"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    left = MAX_BYTES - newest.stat().st_size
    for path in graphs:
        if path == newest:
            continue
        left -= path.stat().st_size
        if left < 0:
            for part in (path, path.with_suffix(".json")):
                part.unlink(missing_ok=True)
