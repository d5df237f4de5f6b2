"""Options and arguments that several commands have, and their completion."""

from __future__ import annotations

from typing import Annotated

import typer


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
