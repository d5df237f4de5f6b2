"""Graphs that were written and verified before, in zoo's own folder, by everything that they depend on.

A graph is stored under a digest of the weights, the outputs, the image size and the versions of what wrote it. Beside
it a small file has the graph's sha256, that of its file of weights if it has one, and the runtimes that it was compared
with torch in. A graph whose bytes do not have that sha256 counts as missing. The oldest graphs go when there are too
many.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from zoo.core.errors import CannotWriteError, InvalidInputError, ZooError
from zoo.core.extras import import_extra
from zoo.core.files.atomic_output import atomic_output, cannot_write
from zoo.core.files.atomic_pair import atomic_pair
from zoo.core.files.checksum import file_sha256
from zoo.core.files.user_folders import GRAPHS, existing, state_folder
from zoo.core.graphs.network import GraphNetwork, example_images
from zoo.core.graphs.onnx_file import OnnxGraph, data_name, onnx_graph, openable, require_onnx
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
    """A graph as `Runtime.open` takes it, the digests of its files, and the runtimes that it was verified in."""

    graph: bytes | Path
    digests: Mapping[str, str]
    verified: tuple[str, ...]


@contextmanager
def verified_graph(
    network: GraphNetwork,
    preprocess: Preprocess,
    runtime: str,
    *,
    facts: Mapping[str, Any],
    dynamic: frozenset[str],
    threads: int = 0,
) -> Iterator[bytes | Path]:
    """The ONNX graph of a network, which a runtime was shown to compute as torch does, to be opened in this block.

    Args:
        network: in float32.
        preprocess: the transform of its weights.
        runtime: one of RUNTIMES.
        facts: everything that the graph's numbers follow from: the weights' sha256, the architecture, the outputs.
            Empty if that is not known; the graph is then not stored.
        dynamic: what the graph leaves open, see `GraphRequest`.
        threads: for the runtime, 0 for all cores.

    Raises InvalidInputError: a package is missing, the network cannot be exported, the graph gives other numbers, or
    its weights of more than 2 GB find no place on disk.
    """
    program = RUNTIMES[runtime]
    import_extra(program.package, program.extra, f"--runtime {runtime}")
    require_onnx(program.extra)

    def check(graph: bytes | Path) -> None:
        verify(
            program.open(graph, "float32", threads),
            network,
            preprocess,
            runtime=runtime,
            dynamic=dynamic,
            tolerance=TOLERANCES["float32"],
        )

    path = _path(_key(network, facts, dynamic)) if facts else None
    stored = None if path is None else _read(path)
    if path is not None and stored is not None:
        if runtime not in stored.verified:
            check(stored.graph)
            with suppress(OSError, ZooError):  # it is compared again next time
                _write_record(path, stored.digests, (*stored.verified, runtime))
        yield stored.graph
        return
    made = _made(network, preprocess, dynamic, program.extra)
    data = made.one_file()
    if data is not None:
        check(data)
        if path is not None:
            with suppress(OSError, ZooError):  # without a stored graph, it is made again next time
                _write(path, data, runtime)
        yield data
    elif path is not None and _is_made(path.parent):
        _write_with_data(path, made, check, runtime)
        yield path
    else:
        with _for_this_run(made) as graph:
            check(graph)
            yield graph


def _made(network: GraphNetwork, preprocess: Preprocess, dynamic: frozenset[str], extra: str) -> OnnxGraph:
    images = example_images(network, preprocess, TRACED_BATCH, sizes_to_try(network, dynamic)[0])
    try:
        program = trace(network, images, dynamic)
        return onnx_graph(program, images, network, opset=DEFAULT_OPSET, metadata={}, dynamic=dynamic, extra=extra)
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


def _is_made(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return True


@contextmanager
def _for_this_run(graph: OnnxGraph) -> Iterator[bytes | Path]:
    """A graph that is not stored, and is gone when it has been opened: programs map the file or have read it then."""
    place = tempfile.gettempdir()
    with ExitStack() as kept:
        try:
            source = kept.enter_context(openable(graph, place))
        except OSError as error:
            raise _no_place(cannot_write(place, error)) from error
        yield source


def _no_place(error: CannotWriteError) -> InvalidInputError:
    return InvalidInputError(error.message, hint=TORCH_HINT, path=error.path)


def _record(path: Path) -> Path:
    return path.with_suffix(".json")


def _data(path: Path) -> Path:
    return Path(data_name(path))


def _read(path: Path) -> _Stored | None:
    try:
        record = json.loads(_record(path).read_text())
        graph = path.read_bytes()
        digests = {"sha256": hashlib.sha256(graph).hexdigest()}
        has_data = isinstance(record, dict) and "data_sha256" in record
        if has_data:
            digests["data_sha256"] = file_sha256(_data(path))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not record.items() >= digests.items():
        return None
    verified = tuple(filter(RUNTIMES.__contains__, record.get("verified", ())))
    return _Stored(path if has_data else graph, digests, verified)


def _write(path: Path, graph: bytes, runtime: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path, force=True, sync=False) as file:
        file.write(graph)
    _write_record(path, {"sha256": hashlib.sha256(graph).hexdigest()}, (runtime,))
    _remove_oldest(path)


def _write_with_data(path: Path, graph: OnnxGraph, check: Callable[[bytes | Path], None], runtime: str) -> None:
    """Store a graph that does not fit one file, after it was verified where it was written."""
    try:
        with atomic_pair(path, _data(path), force=True, sync=False) as folder:
            graph.write(folder, path.name)
            check(Path(folder.path, path.name))
    except CannotWriteError as error:
        raise _no_place(error) from error
    with suppress(OSError, ZooError):  # a graph without its digests is made again next time
        digests = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "data_sha256": file_sha256(_data(path))}
        _write_record(path, digests, (runtime,))
        _remove_oldest(path)


def _write_record(path: Path, digests: Mapping[str, str], verified: tuple[str, ...]) -> None:
    with atomic_output(_record(path), force=True, sync=False) as file:
        file.write(json.dumps({**digests, "verified": list(verified)}).encode())


def _remove_oldest(newest: Path) -> None:
    """Keep the sum of all graphs below MAX_BYTES, without touching the one that was just written."""
    graphs = sorted(newest.parent.glob("*.onnx"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    left = MAX_BYTES - _size(newest)
    for path in graphs:
        if path == newest:
            continue
        left -= _size(path)
        if left < 0:
            for part in (_record(path), _data(path), path):  # the graph last: it is what the next run looks for
                part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """The size of a graph with its weights."""
    return sum(part.stat().st_size for part in (path, _data(path)) if part.exists())
