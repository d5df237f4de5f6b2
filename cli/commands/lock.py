"""`zoo lock`: record in a file what names stand for today."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import output
from zoo.cli.help_sections import OUTPUT
from zoo.cli.options import (
    Force,
    Json,
    Offline,
    Quiet,
    Timeout,
    Verbose,
    complete_model_name,
    limit_network,
    refuse_file_names,
)


def lock(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME.TAG...", help="Names of weights.", autocompletion=complete_model_name)
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="LOCK",
            readable=False,
            rich_help_panel=OUTPUT,
            help="Write the lock to this JSON file.",
        ),
    ],
    offline: Offline = False,
    timeout: Timeout = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Record which bytes the names of weights stand for: source, revision, file, size and sha256.

    Cached weights are read. For others the Hub is asked, without downloading them. The same weights give the same file.
    Keep it under version control: `zoo fetch --locked` gives exactly these bytes or fails.

    \b
    Example:
      zoo lock -o zoo.lock resnet34.a1_in1k convnext_tiny.in12k
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    refuse_file_names(names)
    from zoo.core.files.atomic_output import atomic_output, check_target
    from zoo.weights_cache.lock import lock_bytes, lock_weights

    check_target(target)
    found = lock_weights(names)
    with atomic_output(target, force=force) as file:
        file.write(lock_bytes(found))
    status = "unchanged" if file.unchanged else "written"
    if json:
        weights = [{"name": name, **entry._asdict()} for name, entry in found.items()]
        output.document({"output": str(target), "status": status, "weights": weights})
    else:
        output.lines([f"{target}: {status}", *(f"  {name}: sha256 {one.sha256}" for name, one in found.items())])
