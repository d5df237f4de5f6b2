"""Options and arguments shared by several commands, and their completion.

Here and in the commands, the evaluation of annotations is not postponed: Typer needs them, and evaluating them from
text takes longer.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zoo.cli.help_sections import COMMON, INPUT, MODEL, OUTPUT
from zoo.core.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg

_URL = re.compile(r"(?!local-dir:|hf-hub:)([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")


def complete_model_name(incomplete: str) -> list[str]:
    """Model names that begin with the typed text; with tags once it contains a dot."""
    from zoo.core.architectures.registry import list_models

    return [name for name in list_models(include_tags="." in incomplete) if name.startswith(incomplete)]


def complete_family(incomplete: str) -> list[str]:
    """Families that begin with the typed text."""
    from zoo.core.architectures.registry import list_modules

    return [family for family in list_modules() if family.startswith(incomplete)]


MAX_DIGITS = 18

NAME_HELP = "A model: name, name.tag, timm/name.tag or hf-hub:owner/repo."
WEIGHTS_HELP = "Read the weights from this file or URL instead of the published ones."
KEY_HELP = "Take the state dict at this place in the checkpoint, for example teacher or models.0."
SOURCE_SIZE_HELP = "State the image size in pixels that the weight file is for, if it does not say so itself."
ModelName = Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP, autocompletion=complete_model_name)]
Json = Annotated[bool, typer.Option("--json", rich_help_panel=COMMON, help="Print the result as one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=COMMON, help="Print no notes and no progress.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", rich_help_panel=COMMON, help="Print more details, and show where an error happened."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace an existing file that has other content.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=OUTPUT, help="Print what would be done, and write nothing.")
]
Offline = Annotated[
    bool,
    typer.Option("--offline", rich_help_panel=COMMON, help="Make no network request. HF_HUB_OFFLINE=1 does the same."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        rich_help_panel=COMMON,
        help="Give up a download that takes longer than this. ZOO_TIMEOUT does the same.",
    ),
]
Locked = Annotated[
    Path | None,
    typer.Option(
        "--locked",
        metavar="LOCK",
        readable=False,
        rich_help_panel=INPUT,
        help="Take exactly the bytes that this file of `zoo lock` names.",
    ),
]
InChans = Annotated[
    int | None,
    typer.Option(
        "--in-chans",
        metavar="N",
        rich_help_panel=MODEL,
        help="Set the number of input channels of the model, 1 or more.",
    ),
]
NumClasses = Annotated[
    int | None,
    typer.Option(
        "--num-classes",
        metavar="K",
        rich_help_panel=MODEL,
        help="Set the number of classes, the outputs of the classifier; 0 leaves the classifier out.",
    ),
]
SourceSize = Annotated[
    str,
    typer.Option(
        "--source-size",
        metavar="S|H,W",
        rich_help_panel=INPUT,
        help=SOURCE_SIZE_HELP,
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        metavar="PATTERN",
        rich_help_panel=INPUT,
        help="Leave out tensors whose names match, for example 'criterion.*'; repeatable.",
    ),
]
StripPrefix = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        rich_help_panel=INPUT,
        help="Take only the tensors whose names begin with TEXT, and remove it from the names.",
    ),
]
Ema = Annotated[
    bool,
    typer.Option(
        "--ema/--no-ema",
        rich_help_panel=INPUT,
        help="Take the averaged (EMA) weights if a checkpoint has both kinds.",
    ),
]
OutIndices = Annotated[
    str,
    typer.Option(
        "--out-indices",
        metavar="I,J,...",
        rich_help_panel=MODEL,
        help="Choose these feature levels; negative numbers count from the end.",
    ),
]
Weights = Annotated[
    Path | None,
    # Not readable=True: Typer's own check exits with code 2 and cuts the path.
    typer.Option(
        "--weights",
        metavar="FILE",
        readable=False,
        rich_help_panel=INPUT,
        help=WEIGHTS_HELP,
    ),
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="PATH",
        rich_help_panel=INPUT,
        help=KEY_HELP,
    ),
]
OptionalOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        readable=False,
        rich_help_panel=OUTPUT,
        help="Write the weights to this safetensors file.",
    ),
]
CastTo = Annotated[
    Literal["float32", "float16", "bfloat16"] | None,
    typer.Option("--dtype", rich_help_panel=OUTPUT, help="Cast all floating-point tensors to this dtype."),
]


def limit_network(*, offline: bool, timeout: float | None) -> None:
    """Set --offline and --timeout in the environment, where every downloader reads them, including the Hub's client.

    Raises UsageError.
    """
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if timeout is not None:
        from zoo.weights_cache.time_limit import TIMEOUT_VARIABLE, default_timeout

        os.environ[TIMEOUT_VARIABLE] = str(timeout)
        default_timeout()  # raises if it is not a valid time


def parse_indices(text: str) -> list[int] | None:
    """Parse `"2,3,-1"` as numbers; None for an empty text. Raises UsageError."""
    if not text:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--out-indices takes numbers with commas between them, found {text!r}.", hint="For example: 2,3,4"
        ) from None


def parse_source_size(text: str) -> tuple[int, int] | None:
    """Parse --source-size; None for an empty text. Raises UsageError."""
    return parse_size(text, "--source-size") if text else None


def _is_number(text: str) -> bool:
    """Whether the text is a whole number of at most MAX_DIGITS digits: int() refuses thousands of digits."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def parse_size(text: str, option: str = "--img-size") -> tuple[int, int]:
    """Parse `"384"` or `"384,512"` as height and width in pixels. Raises UsageError."""
    parts = text.split(",")
    if len(parts) > 2 or not all(_is_number(part) and int(part) for part in parts):
        raise UsageError(f"{option} takes one number or height,width, found {text[:80]!r}.", hint="For example: 384")
    return int(parts[0]), int(parts[-1])


def read_class_indices(path: Path) -> tuple[int, ...]:
    """Read class numbers from a file: one at the start of each line; the rest of a line and lines with # are comments.

    Raises NotFoundError, or UsageError for a line that does not begin with a number or a file without numbers.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise NotFoundError(f"{path} cannot be read: {reason}.", path=str(path)) from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and not _is_number(words[0]):
            raise UsageError(
                f"Line {number} of {path} should begin with the number of a class, found {words[0][:80]!r}."
            )
        found += [int(words[0])] if words else []
    if not found:
        raise UsageError(f"{path} names no class to keep.", hint="Write one number a line, counted from 0.")
    return tuple(found)


def refuse_file_names(names: Sequence[str]) -> None:
    """Raise NotFoundError for a name that is a file's, not a model's: the shell may have expanded a pattern to it."""
    for name in names:
        if os.path.isfile(name) and not _is_model(name):
            raise NotFoundError(
                f"No model is called {name!r}, which is a file here.",
                hint=f"`zoo inspect {_quoted(name)}` shows it. A pattern goes to `zoo list`: {quoted_pattern(name)}.",
            )


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


def _is_model(name: str) -> bool:
    from zoo.core.architectures.hub_names import plain_name
    from zoo.core.architectures.published import find_cfg

    try:
        find_cfg(plain_name(name))
    except NotFoundError:
        return False
    return True


def quoted_pattern(file_name: str, option: str = "--filter") -> str:
    """The option with a quoted pattern, for a hint after the shell expanded an unquoted one to this file's name."""
    letters = re.match("[A-Za-z]*", file_name)
    return f"{option} '{letters[0] if letters else ''}*', in quotes"


def local_source(source: str) -> str:
    """A weights argument with a URL replaced by the file behind it, fetched and checked.

    Raises UsageError if nothing says what the URL should contain; otherwise as `fetch_url`.
    """
    if not _URL.match(source) or os.path.exists(source):
        return source
    from zoo.weights_cache.url import fetch_url

    # A path keeps only one of the slashes.
    return str(fetch_url(_URL.sub(r"\1://", source)))


def local_file(path: Path) -> Path:
    """Like `local_source`, for an argument that was parsed as a path."""
    return Path(local_source(str(path)))


def pretrained_cfg(name: str) -> "PretrainedCfg":
    """The default config of a model by any of its names. Raises NotFoundError."""
    from zoo.core.architectures.registry import get_pretrained_cfg

    refuse_file_names([name])
    if ":" in name or "/" in name:
        from zoo.core.architectures.hub_names import plain_name
        from zoo.core.model.named_model import named_cfg, names_a_place

        name = plain_name(name)
        if names_a_place(name):
            return named_cfg(name)
    cfg = get_pretrained_cfg(name, allow_unregistered=False)
    assert cfg is not None  # only a user's model has none, and the command line has no such models
    return cfg
