"""Any weight file as tensors whose bytes lie where they lie: safetensors, shards, torch checkpoints, numpy archives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from zoo.core.hub_names import HUB_PREFIXES
from zoo.core.safetensors_file import MAX_HEADER, is_torch_file, open_safetensors
from zoo.core.stored_tensor import StoredTensor
from zoo.weights_cache.locate import existing_weight_file

FOLDER_PREFIX = "local-dir:"


class OpenedWeights(NamedTuple):
    """An open weight file.

    Args:
        path: the file; of shards their index.
        format: "safetensors", "sharded safetensors", "torch zip", "torch legacy", "torch tar", "pickle" or "npz".
        size: bytes on disk, of all shards.
        tensors: by name, in their order.
        metadata: of a safetensors file.
        wrapper: keys to the state dict in a training checkpoint, `state_dict.model`; empty where there is none.
        prefix: what wrappers had put before the names, `module.`.
        skipped: what is no part of the state dict: path and kind.
        require_unchanged: raises InvalidInputError where somebody wrote to the file since it was opened.
    """

    path: str
    format: str
    size: int
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]
    require_unchanged: Callable[[], None]
    wrapper: str = ""
    prefix: str = ""
    skipped: tuple[tuple[str, str], ...] = ()


@contextmanager
def open_source(source: str) -> Iterator[OpenedWeights]:
    """As `open_weights`, of what a person names: a path, or `hf-hub:owner/repo`, of which only the header is fetched.

    Raises as `open_weights`, and NotFoundError where the Hub does not give it.
    """
    if source.startswith(HUB_PREFIXES):
        from zoo.weights_cache.remote_header import remote_header

        with remote_header(source.partition(":")[2]) as path, open_weights(path) as opened:
            yield opened
    else:
        with open_weights(Path(source.removeprefix(FOLDER_PREFIX)).expanduser()) as opened:
            yield opened


@contextmanager
def open_weights(
    path: str | os.PathLike[str], *, use_ema: bool = True, max_header: int = MAX_HEADER
) -> Iterator[OpenedWeights]:
    """Open a weight file, or the one in a folder; no tensor is read.

    Args:
        path: the file, an index of shards, or a folder that holds one.
        use_ema: prefer the averaged weights where a training checkpoint holds both.
        max_header: limit in bytes of a safetensors header.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: it is damaged, unsafe, or no weight file.
    """
    given = os.fspath(existing_weight_file(Path(path))) if os.path.isdir(path) else os.fspath(path)
    if given.endswith(".index.json"):
        from zoo.core.sharded_file import open_sharded

        with open_sharded(given, max_header) as sharded:
            size = sum(shard.size for shard in sharded.shards)
            yield OpenedWeights(
                given, "sharded safetensors", size, sharded.tensors, sharded.metadata, sharded.require_unchanged
            )
    elif is_torch_file(given):
        from zoo.weights_cache.checkpoint import open_checkpoint

        with open_checkpoint(given, use_ema=use_ema) as found:
            yield OpenedWeights(
                given, found.format, found.size, found.tensors, found.metadata, found.require_unchanged,
                found.wrapper, found.prefix, found.skipped,
            )  # fmt: skip
    else:
        with open_safetensors(given, max_header) as opened:
            yield OpenedWeights(
                given, "safetensors", opened.size, opened.tensors, opened.metadata, opened.require_unchanged
            )
