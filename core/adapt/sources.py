"""From the name of a source to a file with adapted weights: find the source, learn what it is, adapt it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.core.adapt.job import AdaptReport, OutputRequest, Source, adapt_source
from zoo.core.adapt.plan import AdaptRequest
from zoo.core.architectures.hub_names import FOLDER_PREFIX, PUBLISHER, hub_id_of
from zoo.core.architectures.published import family_of, find_cfg
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.architectures.registry import require_weights
from zoo.core.errors import NotFoundError, UnknownModelError
from zoo.core.files.atomic_output import check_target
from zoo.core.files.open_weights import open_weights
from zoo.core.files.safetensors_file import MAX_HEADER
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.model.named_model import named_cfg
from zoo.weights_cache.download import WeightFile, fetch

if TYPE_CHECKING:
    from zoo.core.adapt.verify import Check

CONFIG_NAME = "config.json"


def adapt_weights(
    source: str | os.PathLike[str],
    request: AdaptRequest,
    output: OutputRequest,
    *,
    weights: str | os.PathLike[str] | None = None,
    use_ema: bool = True,
    key: str = "",
    max_header: int = MAX_HEADER,
) -> AdaptReport:
    """Adapt a checkpoint to different input channels and write it.

    Errors in the request are found before anything is downloaded. Every source is streamed; only a source in another
    key layout needs torch. Nothing in a checkpoint is executed.

    Args:
        source: a model's name, `name.tag`, `timm/name.tag`, `hf-hub:owner/repo`, `local-dir:folder`, or the path of a
            weight file, of a shard index, or of a folder that holds one (and a config.json).
        request: what to change.
        output: where to write, and the conditions for writing.
        weights: a file or folder to use instead of the weights that the name stands for.
        use_ema: prefer the averaged weights if a training checkpoint holds both.
        key: path of the state dict in a training checkpoint, keys joined by dots; "" finds it.
        max_header: limit in bytes of a safetensors header.

    Raises as `core.adapt.job.adapt_source`, and NotFoundError if there is no such source.
    """
    check_target(output.path, folder=output.file_format == "timm")
    cfg = source_cfg(os.fspath(source))
    if weights is not None:
        cfg = replace(cfg, file=os.fspath(weights), tag="", key_layout="", sha256="")
    require_weights(cfg)
    # A config.json describes the weights in its folder; the config of a model's name does not describe a different
    # file.
    if request.source_size and cfg.architecture:
        from zoo.core.resize.rules import require_size_dependent

        require_size_dependent(family_of(cfg.architecture) or "", cfg.architecture)
    is_read = bool(cfg.file) or bool(hub_id_of(os.fspath(source)))
    states_size = is_read and bool(cfg.architecture) and weights is None
    with open_fetched(fetch(cfg), cfg, use_ema, max_header, key) as opened:
        opened = opened._replace(states_size=states_size)
        return adapt_source(opened, request, output, _loads if output.verify else None)


def _loads(tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> Check:
    from zoo.core.adapt.verify_loading import loads_in_zoo

    return loads_in_zoo(tensors, metadata)


def source_cfg(source: str) -> PretrainedCfg:
    """The config of a source in any form that `adapt_weights` takes; only `file` is set if nothing else is known.

    Raises NotFoundError: no such model, folder or file. InvalidInputError: the config.json does not describe a model.
    """
    if hub_id_of(source) or (source.startswith(PUBLISHER) and not os.path.exists(source)):
        return named_cfg(source)
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
        from zoo.core.metadata.timm_config import read_timm_config

        cfg = replace(read_timm_config(config), url="", hf_hub_id="")
    elif source.startswith(FOLDER_PREFIX):
        raise NotFoundError(f"The folder {path} has no {CONFIG_NAME}.", path=str(path))
    return replace(cfg, file=str(path), package="", key_layout="", sha256="")


@contextmanager
def open_fetched(
    file: WeightFile, cfg: PretrainedCfg, use_ema: bool, max_header: int, key: str = ""
) -> Iterator[Source]:
    """Open a weight file of any kind as stored tensors, without reading their data yet. `key`: as in `open_weights`."""
    path = os.fspath(file.path)
    with open_weights(path, use_ema=use_ema, key=key, max_header=max_header) as opened:
        yield Source(
            label=path,
            # A local file's digest identifies it better than its name: the same content under a different name gives
            # the same bytes.
            name="file" if cfg.file else file.origin,
            tensors=_in_timm_layout(opened.tensors, cfg),
            metadata={} if cfg.key_layout else opened.metadata,
            cfg=cfg,
            sha256=opened.sha256,
            require_unchanged=opened.require_unchanged,
            file_format=opened.format,
            unwrapped=bool(opened.prefix or opened.wrappers),
            notes=opened.notes(),
        )


def _in_timm_layout(tensors: Mapping[str, StoredTensor], cfg: PretrainedCfg) -> tuple[StoredTensor, ...]:
    if not cfg.key_layout:
        return tuple(tensors.values())
    from zoo.core.layouts.engine import to_timm

    return tuple(to_timm(cfg.key_layout, tensors.values()))
