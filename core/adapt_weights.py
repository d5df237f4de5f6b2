"""From a model's name to a file with adapted weights: find the source, read what it is, adapt."""

from __future__ import annotations

import os

from zoo.core.adapt_file import AdaptReport, adapt_file, adapt_tensors, check_request
from zoo.core.atomic_output import check_target
from zoo.core.records import PretrainedCfg
from zoo.core.registry import require_weights
from zoo.core.safetensors_file import is_torch_file
from zoo.weights_cache.download import fetch


def adapt_weights(
    cfg: PretrainedCfg,
    output: str | os.PathLike[str],
    *,
    in_chans: int,
    num_classes: int | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> AdaptReport:
    """Fetch the weights that a config names and write them with input layers for `in_chans` channels.

    A safetensors source is streamed without torch; a torch checkpoint is read with tensors only allowed, and its keys
    are brought to timm's layout where the config says that they are another's. Arguments and errors as in
    `core.adapt_file.adapt_file`; what is wrong with the request is found before anything is downloaded.
    """
    check_request(in_chans, num_classes)
    check_target(output)
    require_weights(cfg)
    source = fetch(cfg)
    if not cfg.key_layout and not is_torch_file(source.path):
        return adapt_file(
            source.path, output, cfg, in_chans=in_chans, num_classes=num_classes, force=force, dry_run=dry_run
        )

    from zoo.core.build import create_model
    from zoo.core.save import stored_tensors
    from zoo.weights_cache.layouts import to_timm
    from zoo.weights_cache.read import read_state_dict

    state_dict = read_state_dict(source.path)
    if cfg.key_layout:
        state_dict = to_timm(cfg.key_layout, state_dict, create_model(cfg.architecture, device="meta").state_dict())
    return adapt_tensors(
        stored_tensors(state_dict),
        output,
        cfg,
        source=str(source.path),
        source_metadata={},
        in_chans=in_chans,
        num_classes=num_classes,
        force=force,
        dry_run=dry_run,
    )
