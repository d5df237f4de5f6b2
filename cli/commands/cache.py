"""`zoo cache`: list the files in the caches, check them, and remove them."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.groups import CommandGroup
from zoo.cli.help_sections import OUTPUT, SectionedCommand
from zoo.cli.options import Json, Quiet, Verbose, complete_model_name
from zoo.core.errors import InvalidInputError, NotFoundError, UnknownModelError

if TYPE_CHECKING:
    from zoo.weights_cache.cached_files import CachedFile

cache = typer.Typer(
    cls=CommandGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=OUTPUT, help="Print what would be removed, and remove nothing.")
]
_NAME_HELP = "Names of weights, or names that `zoo cache list` shows."
Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME...", help=_NAME_HELP, autocompletion=complete_model_name)
]


@cache.callback()
def about(_json: Json = False, _quiet: Quiet = False, _verbose: Verbose = False) -> None:
    """List, check and clean the caches that weights are read from.

    There are three: the Hub's cache, which other programs share, torch.hub's checkpoints, and zoo's own notes on
    checked files. No command here needs a network or follows a link out of a cache.

    \b
    Examples:
      zoo cache list
      zoo cache remove resnet34.a1_in1k --dry-run
    """


@cache.command("list", cls=SectionedCommand)
def list_files(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List the files of the caches, with size and last use.

    In a pipe each line holds kind, bytes, day, name and path.

    \b
    Example:
      zoo cache list --json
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.weights_cache.cached_files import cached_files, total_size

    files = cached_files()
    if json:
        output.document({"size": total_size(files), "files": [_as_json(file) for file in files]})
    elif output.on_terminal():
        columns = ("name", "file", "revision", "size", "last used", "kind")
        rows = ((f.name, f.file, f.revision[:7], f"{output.count(f.size)}B", _day(f), f.kind) for f in files)
        output.table(columns, rows, right=("size",))
        output.note(f"{output.count(total_size(files))}B in all.")
    else:
        output.lines(f"{f.kind} {f.size} {_day(f) or '-'} {f.name} {f.path}" for f in files)


@cache.command("path", cls=SectionedCommand)
def path(
    name: Annotated[
        str, typer.Argument(metavar="[NAME.TAG]", help="The name of weights.", autocompletion=complete_model_name)
    ] = "",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Print the path of cached weights, or of the caches.

    Without a name the command prints where the caches are.

    \b
    Example:
      zoo cache path resnet34.a1_in1k
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.weights_cache.cached_files import roots

    if not name:
        found = {cache_name: str(root) for cache_name, root in roots().items()}
        if json:
            output.document({"roots": found})
        else:
            output.lines(f"{cache_name}: {root}" for cache_name, root in found.items())
        return
    from zoo.weights_cache.locate import cached_path
    from zoo.weights_cache.lock import published_cfg

    cached = cached_path(published_cfg(name))
    if cached is None:
        raise NotFoundError(f"The weights of {name} are not cached.", hint=f"Fetch them: zoo fetch {name}")
    if json:
        output.document({"name": name, "path": str(cached)})
    else:
        output.lines([str(cached)])


@cache.command("verify", cls=SectionedCommand)
def verify(names: Names = None, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Read cached weights again and compare them with their checksums.

    The exit code is 4 if a file is damaged.

    \b
    Example:
      zoo cache verify resnet34.a1_in1k
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.weights_cache.cached_files import check_file

    files = [file for file in _chosen(names) if file.kind == "weights"]
    states = {}
    with output.progress(len(files), "Checking weights") as advance:
        for file in files:
            states[file] = check_file(file)
            advance(1)
    if json:
        output.document({"files": [_as_json(file) | {"state": state} for file, state in states.items()]})
    else:
        output.lines(f"{state} {file.path}" for file, state in states.items())
    damaged = [file for file, state in states.items() if state == "damaged"]
    if damaged:
        raise InvalidInputError(
            f"{len(damaged)} of {len(files)} files are damaged, first {damaged[0].path}.",
            hint=f"Remove it and fetch it again: zoo cache remove {damaged[0].name}",
            path=str(damaged[0].path),
        )


@cache.command("prune", cls=SectionedCommand)
def prune(dry_run: DryRun = False, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Remove files that no program reads.

    These are downloads that broke off, damaged files, unused blobs, and links that lead nowhere.

    \b
    Example:
      zoo cache prune --dry-run
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    from zoo.weights_cache.cached_files import cached_files, leftovers

    files, locks = leftovers(cached_files())
    for lock in locks:
        output.note(f"Passed over a repository to which another process downloads: it holds {lock}.")
    _remove(files, whole=False, dry_run=dry_run)


@cache.command("remove", cls=SectionedCommand)
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=_NAME_HELP, autocompletion=complete_model_name)],
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove weights from the caches.

    This removes the whole Hub repository with every revision of it, or the checkpoint of torch.hub.

    \b
    Example:
      zoo cache remove resnet34.a1_in1k --dry-run
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    _remove(_chosen(names), whole=True, dry_run=dry_run)


def _chosen(names: Sequence[str] | None) -> "list[CachedFile]":
    from zoo.weights_cache.cached_files import cached_files, matching

    files = cached_files()
    if not names:
        return files
    known = {file.name for file in files}
    return matching(files, [name if name in known else _name_in_cache(name) for name in names])


def _name_in_cache(name: str) -> str:
    from zoo.weights_cache.locate import HubFile, UrlFile, locate
    from zoo.weights_cache.lock import published_cfg

    try:
        source = locate(published_cfg(name))
    except UnknownModelError:
        return name
    return source.repo_id if isinstance(source, HubFile) else source.filename if isinstance(source, UrlFile) else name


def _remove(files: "Sequence[CachedFile]", *, whole: bool, dry_run: bool) -> None:
    from zoo.weights_cache.cached_files import remove, total_size

    freed = total_size(files) if dry_run else remove(files, whole=whole)
    if output.settings.json:
        output.document({"freed": freed, "dry_run": dry_run, "files": [_as_json(file) for file in files]})
    else:
        verb = "would be removed" if dry_run else "removed"
        output.lines([*(f"{verb}: {file.path}" for file in files), f"{output.count(freed)}B {verb}"])


def _day(file: "CachedFile") -> str:
    return time.strftime("%Y-%m-%d", time.localtime(file.last_used)) if file.last_used else ""


def _as_json(file: "CachedFile") -> dict[str, Any]:
    used = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(file.last_used)) if file.last_used else None
    return file._asdict() | {"path": str(file.path), "blob": str(file.blob), "last_used": used}
