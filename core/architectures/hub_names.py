"""Names of weights as the Hub writes them: `hf-hub:owner/repo@revision`, and `timm/NAME.TAG` for published ones.

Standard library only; no request goes to the Hub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg

HUB_PREFIXES = ("hf-hub:", "hf_hub:")
FOLDER_PREFIX = "local-dir:"
PUBLISHER = "timm/"
"""The Hub account that publishes the named weights; each repository has the name of its weights."""


def parse_model_name(model_name: str) -> tuple[str | None, str]:
    """Split a name into its place and the rest: ("hf-hub", "owner/repo"), ("local-dir", folder) or (None, name)."""
    hub_id = hub_id_of(model_name)
    if hub_id:
        return "hf-hub", hub_id
    if model_name.startswith(FOLDER_PREFIX):
        return FOLDER_PREFIX[:-1], model_name.removeprefix(FOLDER_PREFIX)
    return None, model_name.removeprefix(PUBLISHER)


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
