"""Names of weights as the Hub writes them: `hf-hub:owner/repo@revision`, and `timm/NAME.TAG` for published ones.

Standard library only; no request goes to the Hub.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg

HUB_PREFIXES = ("hf-hub:", "hf_hub:")
FOLDER_PREFIX = "local-dir:"
PUBLISHER = "timm/"
"""The Hub account that publishes the named weights; each repository has the name of its weights."""


def parse_model_name(model_name: str) -> tuple[str | None, str]:
    """Split a name into its place and the rest: ("hf-hub", "owner/repo"), ("local-dir", folder) or (None, name).

    Raises UsageError (a ValueError) for another place than these, for nothing behind it, and for what looks like a path
    or a repository without a place.
    """
    from zoo.core.errors import UsageError

    place, colon, rest = model_name.partition(":")
    if not colon or not re.fullmatch(r"[a-zA-Z][\w.+-]+", place, re.ASCII):  # one letter is a drive of Windows
        if set(model_name) & set("/\\:"):
            raise UsageError(
                f"The name of a model was expected, found {model_name!r}, a path or a repository.",
                hint=f"Write 'hf-hub:{model_name}' or 'local-dir:{model_name}'.",
            )
        return None, model_name
    known = {**dict.fromkeys(HUB_PREFIXES, "hf-hub"), FOLDER_PREFIX: "local-dir"}
    found = known.get(f"{place.lower()}:")
    if not found:
        raise UsageError(f"One of {', '.join(known)} was expected, found '{place}:'.")
    if not rest:
        raise UsageError(f"Something was expected behind '{place}:', found nothing.")
    return found, rest


def safe_model_name(model_name: str, remove_source: bool = True) -> str:
    """A name as a part of a file name: letters and digits stay, anything else becomes `_`.

    Args:
        remove_source: leave out `hf-hub:` or `local-dir:`.
    """
    name = parse_model_name(model_name)[1] if remove_source else model_name
    return "".join(character if character.isalnum() else "_" for character in name).rstrip("_")


def hub_id_of(name: str) -> str:
    """`owner/repo` or `owner/repo@revision` from a name that begins with `hf-hub:`; '' for any other."""
    return name.partition(":")[2] if name.startswith(HUB_PREFIXES) else ""


def registered_cfg(hub_id: str) -> PretrainedCfg | None:
    """The default config of the weights in a repository of the Hub; None if they have no name here.

    Args:
        hub_id: `owner/repo`, or `owner/repo@revision`, which the config then names too.
    """
    repository = hub_id.partition("@")[0]
    if not repository.startswith(PUBLISHER):
        return None
    from dataclasses import replace

    from zoo.core.architectures.published import find_cfg
    from zoo.core.errors import NotFoundError

    try:
        cfg = find_cfg(repository.removeprefix(PUBLISHER))
    except NotFoundError:
        return None
    return replace(cfg, hf_hub_id=hub_id) if cfg.hf_hub_id == repository and not cfg.package else None


def plain_name(name: str) -> str:
    """Turn a name of published weights, `timm/NAME.TAG` or with `hf-hub:`, into `NAME.TAG`; keep others as they are."""
    hub_id = hub_id_of(name)
    if hub_id:
        cfg = None if "@" in hub_id else registered_cfg(hub_id)
        return cfg.name if cfg else name
    return name.removeprefix(PUBLISHER)
