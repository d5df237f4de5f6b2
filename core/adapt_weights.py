"""From what a person names to a file with adapted weights: find the source, learn what it is, adapt it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.core.adapt_file import AdaptReport, OutputRequest, Source, adapt_source
from zoo.core.adapt_plan import AdaptRequest
from zoo.core.atomic_output import check_target
from zoo.core.errors import NotFoundError, UnknownModelError
from zoo.core.known_architectures import find_cfg
from zoo.core.records import PretrainedCfg
from zoo.core.registry import require_weights
from zoo.core.safetensors_file import MAX_HEADER, is_torch_file, open_safetensors
from zoo.core.stored_tensor import StoredTensor
from zoo.weights_cache.checksum import file_sha256
from zoo.weights_cache.download import WeightFile, fetch
from zoo.weights_cache.open_weights import FOLDER_PREFIX, HUB_PREFIXES

if TYPE_CHECKING:
    from zoo.core.verify_adapted import Check

CONFIG_NAME = "config.json"


def adapt_weights(
    source: str | os.PathLike[str],
    request: AdaptRequest,
    output: OutputRequest,
    *,
    weights: str | os.PathLike[str] | None = None,
    use_ema: bool = True,
    max_header: int = MAX_HEADER,
) -> AdaptReport:
    """Adapt a checkpoint to other input channels and write it.

    What is wrong with the request is found before anything is downloaded. Every source is streamed; only one in
    another key layout needs torch. Nothing in a checkpoint is executed.

    Args:
        source: a model's name, `name.tag`, `hf-hub:owner/repo`, `local-dir:folder`, or the path of a weight file, of
            an index of shards, or of a folder that holds one (and a config.json).
        request: what to change.
        output: where to, and what must hold.
        weights: a file or folder in place of those that the name stands for.
        use_ema: prefer the averaged weights where a training checkpoint holds both.
        max_header: limit in bytes of a safetensors header.

    Raises as `core.adapt_file.adapt_source`, and NotFoundError where there is no such source.
    """
    check_target(output.path, folder=output.file_format == "timm")
    cfg = source_cfg(os.fspath(source))
    if weights is not None:
        cfg = replace(cfg, file=os.fspath(weights), tag="", key_layout="", sha256="")
    require_weights(cfg)
    with open_fetched(fetch(cfg), cfg, use_ema, max_header) as opened:
        return adapt_source(opened, request, output, _loads if output.verify else None)


def _loads(tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> Check:
    from zoo.core.verify_loading import loads_in_zoo

    return loads_in_zoo(tensors, metadata)


def source_cfg(source: str) -> PretrainedCfg:
    """The config of a source as `adapt_weights` takes it; nothing but `file` is set where nothing else is known.

    Raises NotFoundError: no such model, folder or file. InvalidInputError: a config.json that is no model's.
    """
    if source.startswith(HUB_PREFIXES):
        from zoo.core.published_config import read_timm_config
        from zoo.weights_cache.download import fetch_config

        hub_id = source.partition(":")[2]
        cfg = read_timm_config(fetch_config(hub_id), origin=f"{CONFIG_NAME} of {hub_id}")
        return replace(cfg, hf_hub_id=hub_id, hf_hub_filename="", url="", file="", package="", key_layout="", sha256="")
    is_path = source.startswith(FOLDER_PREFIX) or os.sep in source or os.path.isfile(source)
    path = Path(source.removeprefix(FOLDER_PREFIX)).expanduser()
    if not is_path:
        try:
            return find_cfg(source)
        except UnknownModelError:
            if not path.exists():
                raise
    config = path / CONFIG_NAME
    cfg = PretrainedCfg()
    if config.is_file():
        from zoo.core.published_config import read_timm_config

        cfg = replace(read_timm_config(config), url="", hf_hub_id="")
    elif source.startswith(FOLDER_PREFIX):
        raise NotFoundError(f"The folder {path} has no {CONFIG_NAME}.", path=str(path))
    return replace(cfg, file=str(path), package="", key_layout="", sha256="")


@contextmanager
def open_fetched(file: WeightFile, cfg: PretrainedCfg, use_ema: bool, max_header: int) -> Iterator[Source]:
    """The tensors of a weight file, or of an index of shards, as they are stored; safetensors are not read yet."""
    path = os.fspath(file.path)
    # A local file's name says less than its digest, and the same content under another name gives the same bytes.
    name = "file" if cfg.file else file.origin
    describe = partial(Source, label=path, name=name, cfg=cfg)
    if path.endswith(".index.json"):
        from zoo.core.sharded_file import open_sharded

        with open_sharded(path, max_header) as sharded:
            yield describe(
                tensors=tuple(sharded.tensors.values()),
                metadata=sharded.metadata,
                sha256=partial(_combined_sha256, [(shard.path, shard.fd) for shard in sharded.shards]),
                require_unchanged=sharded.require_unchanged,
            )
    elif cfg.key_layout or is_torch_file(path):
        from zoo.weights_cache.checkpoint import open_checkpoint

        with open_checkpoint(path, use_ema=use_ema, max_header=max_header) as checkpoint:
            yield describe(
                tensors=_in_timm_layout(checkpoint.tensors, cfg),
                metadata={},
                sha256=partial(file_sha256, path, checkpoint.fd),
                require_unchanged=checkpoint.require_unchanged,
            )
    else:
        with open_safetensors(path, max_header) as opened:
            yield describe(
                tensors=tuple(opened.tensors.values()),
                metadata=opened.metadata,
                sha256=partial(file_sha256, path, opened.fd),
                require_unchanged=opened.require_unchanged,
            )


def _combined_sha256(files: Sequence[tuple[str, int]], stopped: Callable[[], bool]) -> str:
    """Digest of the shards' digests in the order of their names, one a line."""
    lines = "".join(f"{file_sha256(path, fd, stopped)}\n" for path, fd in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _in_timm_layout(tensors: Mapping[str, StoredTensor], cfg: PretrainedCfg) -> tuple[StoredTensor, ...]:
    if not cfg.key_layout:
        return tuple(tensors.values())
    from zoo.core.layouts.engine import to_timm

    return tuple(to_timm(cfg.key_layout, tensors.values()))
