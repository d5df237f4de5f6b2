"""Options and arguments that several commands have, and their completion.

Here and in the commands annotations are not postponed: Typer reads them, and evaluating them from text takes longer.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.records import PretrainedCfg


def complete_model_name(incomplete: str) -> list[str]:
    """Names that begin as typed; those with a tag once a dot was typed."""
    from zoo.core.registry import list_models

    return [name for name in list_models(include_tags="." in incomplete) if name.startswith(incomplete)]


def complete_family(incomplete: str) -> list[str]:
    """Families that begin as typed."""
    from zoo.core.registry import list_modules

    return [family for family in list_modules() if family.startswith(incomplete)]


ModelName = Annotated[
    str, typer.Argument(metavar="NAME", help="Model name, with or without a tag.", autocompletion=complete_model_name)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no notes and no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Tell more, and show where an error happened.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file with other content.")]
Offline = Annotated[bool, typer.Option("--offline", help="Make no request; the same as HF_HUB_OFFLINE=1.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Give up a download that takes longer; also ZOO_TIMEOUT."),
]
Locked = Annotated[
    Path | None,
    typer.Option("--locked", metavar="LOCK", readable=False, help="Take exactly what this file of `zoo lock` names."),
]
InChans = Annotated[int | None, typer.Option("--in-chans", metavar="N", help="Channels of the images, 1 or more.")]
NumClasses = Annotated[
    int | None, typer.Option("--num-classes", metavar="K", help="Outputs of the classifier; 0 leaves it out.")
]
OutIndices = Annotated[
    str, typer.Option("--out-indices", metavar="I,J,...", help="Feature levels; negative ones count from the end.")
]
Weights = Annotated[
    Path | None,
    # Not readable: Typer's own check ends in exit code 2 and cuts the path.
    typer.Option("--weights", metavar="FILE", readable=False, help="A weight file instead of the published one."),
]
Key = Annotated[
    str, typer.Option("--key", metavar="PATH", help="Where in a checkpoint the state dict is: teacher, or models.0.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", readable=False, help="The safetensors file to write.")
]
OptionalOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", readable=False, help="Write the weights as a safetensors file."),
]


def limit_network(*, offline: bool, timeout: float | None) -> None:
    """Put what --offline and --timeout say where all that downloads looks, the Hub's own client too.

    Raises UsageError.
    """
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if timeout is not None:
        from zoo.weights_cache.time_limit import TIMEOUT_VARIABLE, default_timeout

        os.environ[TIMEOUT_VARIABLE] = str(timeout)
        default_timeout()  # which says so where it is no time


def parse_indices(text: str) -> list[int] | None:
    """`"2,3,-1"` as numbers; None where nothing was given. Raises UsageError."""
    if not text:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--out-indices takes numbers with commas between them, found {text!r}.", hint="For example: 2,3,4"
        ) from None


def parse_size(text: str) -> tuple[int, int]:
    """`"384"` or `"384,512"` as height and width in pixels. Raises UsageError."""
    parts = text.split(",")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f"--img-size takes one number or height,width, found {text!r}.", hint="For example: 384")
    return int(parts[0]), int(parts[-1])


def read_class_indices(path: Path) -> tuple[int, ...]:
    """Class numbers from a file: one at the start of each line, what follows it and lines with # are comments.

    Raises NotFoundError, or UsageError for a line that does not begin with a number, or none at all.
    """
    from zoo.core.errors import NotFoundError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise NotFoundError(f"{path} cannot be read: {reason}.", path=str(path)) from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and not (words[0].isascii() and words[0].isdigit()):
            raise UsageError(f"Line {number} of {path} should begin with the number of a class, found {words[0]!r}.")
        found += [int(words[0])] if words else []
    if not found:
        raise UsageError(f"{path} names no class to keep.", hint="Write one number a line, counted from 0.")
    return tuple(found)


def pretrained_cfg(name: str) -> "PretrainedCfg":
    """The default config of `name` or `name.tag`. Raises NotFoundError."""
    from zoo.core.registry import get_pretrained_cfg

    cfg = get_pretrained_cfg(name, allow_unregistered=False)
    assert cfg is not None  # only a user's model has none, and a command line has no such models
    return cfg
