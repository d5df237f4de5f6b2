"""`zoo fetch`: download published weights to the cache, and check them."""

from typing import Annotated

import typer

from zoo.cli import output
from zoo.cli.help_sections import INPUT
from zoo.cli.options import (
    Json,
    Locked,
    Offline,
    Quiet,
    Timeout,
    Verbose,
    complete_model_name,
    limit_network,
    refuse_file_names,
)


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME.TAG...",
            help="Names of weights. With --locked the default is every name of the lock.",
            autocompletion=complete_model_name,
        ),
    ] = None,
    locked: Locked = None,
    verify: Annotated[
        bool, typer.Option("--verify", rich_help_panel=INPUT, help="Read cached files again to check them.")
    ] = False,
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Bring published weights into the cache, check them, and print their paths.

    A cached file costs no request. Every file is checked against its sha256 when it is first used. Later it is checked
    again only if its size or time has changed, or with --verify.

    \b
    Examples:
      zoo fetch resnet34.a1_in1k convnext_tiny.in12k
      zoo fetch --locked zoo.lock --timeout 600
    """  # fmt: skip
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    refuse_file_names(names or ())
    from zoo.weights_cache.download import fetch as fetch_one
    from zoo.weights_cache.locate import is_cached
    from zoo.weights_cache.lock import chosen_lock, fetch_locked, published_cfg

    progress = False if quiet or json else None  # draw a bar if stderr is a terminal
    lock = chosen_lock(names or [], locked) if locked or not names else {}
    cfgs = [entry.cfg(name) for name, entry in lock.items()] or [published_cfg(name) for name in names or ()]
    weights = []
    for cfg in cfgs:
        cached = is_cached(cfg)
        if lock:
            found = fetch_locked(cfg.name, lock[cfg.name], fresh=verify, progress=progress)
        else:
            found = fetch_one(cfg, fresh=verify, progress=progress)
        size = found.path.stat().st_size
        if not cached:
            output.note(f"{cfg.name}: {output.count(size)}B fetched from {found.source}.")
        weights.append(
            {
                "name": cfg.name,
                "path": str(found.path),
                "source": found.origin,
                "size": size,
                "sha256": found.sha256,
                "fetched": not cached,
            }
        )
    if json:
        output.document({"weights": weights})
    else:
        output.lines(str(one["path"]) for one in weights)
