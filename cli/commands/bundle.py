"""`zoo bundle` and `zoo unbundle`: carry weights to a machine without a network."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import output
from zoo.cli.help_sections import OUTPUT
from zoo.cli.options import (
    Force,
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


def bundle(
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="TAR",
            readable=False,
            rich_help_panel=OUTPUT,
            help="Write the bundle to this tar file.",
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME.TAG...",
            help="Names of weights. With --locked the default is every name of the lock.",
            autocompletion=complete_model_name,
        ),
    ] = None,
    locked: Locked = None,
    offline: Offline = False,
    timeout: Timeout = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Pack weights and their lock into one tar file, for a machine without a network.

    Weights that are not cached are fetched first. The same weights give the same bytes.

    \b
    Examples:
      zoo bundle -o weights.tar resnet34.a1_in1k
      zoo bundle -o weights.tar --locked zoo.lock
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    refuse_file_names(names or ())
    from zoo.core.files.atomic_output import check_target
    from zoo.weights_cache.bundle import bundle as pack
    from zoo.weights_cache.lock import chosen_lock

    check_target(target)
    lock = chosen_lock(names or [], locked)
    progress = False if quiet or json else None  # draw a bar if stderr is a terminal
    status = "written" if pack(lock, target, force=force, progress=progress) else "unchanged"
    size = target.stat().st_size
    if json:
        output.document({"output": str(target), "status": status, "size": size, "names": list(lock)})
    else:
        output.lines([f"{target}: {status}, {output.count(size)}B", *(f"  {name}" for name in lock)])


def unbundle(
    source: Annotated[Path, typer.Argument(metavar="TAR", help="A tar file that `zoo bundle` wrote.", readable=False)],
    locked: Locked = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put the weights of a bundle into the caches of this machine, and print where they are.

    Every byte is checked before the first file is put in place. After that every command finds the weights without a
    network. With --locked the bundle must hold what the lock names.

    \b
    Example:
      zoo unbundle weights.tar
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.weights_cache.bundle import unbundle as unpack
    from zoo.weights_cache.lock import read_lock

    found = unpack(source, locked=read_lock(locked) if locked else None)
    if json:
        weights = [{"name": one.name, "path": str(one.path), "unchanged": one.was_there} for one in found]
        output.document({"weights": weights})
    else:
        output.lines(f"{one.name}: {one.path}{', was there' if one.was_there else ''}" for one in found)
