"""Where the caches are: by the environment, else below the home directory, which a container may not have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from zoo.core.errors import CannotWriteError


class NoCacheFolderError(CannotWriteError):
    """Nothing says where a cache is: the environment does not, and there is no home directory."""


def hub_cache() -> Path:
    """The cache folder of huggingface_hub, by the same variables in the same order. Raises NoCacheFolderError."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if root := _environment(name):
            return root
    home = _environment("HF_HOME")
    return (home or _below_home("XDG_CACHE_HOME", ".cache", "HF_HOME") / "huggingface") / "hub"


def torch_hub_checkpoints() -> Path:
    """The folder into which torch.hub downloads. Raises NoCacheFolderError."""
    home = _environment("TORCH_HOME")
    return (home or _below_home("XDG_CACHE_HOME", ".cache", "TORCH_HOME") / "torch") / "hub" / "checkpoints"


def state_folder() -> Path:
    """Where zoo keeps what it remembers between runs. Raises NoCacheFolderError."""
    return _below_home("XDG_STATE_HOME", ".local/state", "XDG_STATE_HOME") / "zoo"


def existing(folder: Callable[[], Path]) -> Path | None:
    """The folder that one of these functions gives, None where nothing says where it is."""
    try:
        return folder()
    except NoCacheFolderError:
        return None


def home_directory() -> Path | None:
    """The home directory: HOME, else what the system knows of the user; None where that is nothing absolute."""
    home = os.environ.get("HOME", "")
    if not home:
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a user without an entry, as in a container that runs under any number
            return None
    return Path(home) if os.path.isabs(home) else None


def _below_home(variable: str, folder: str, remedy: str) -> Path:
    """The folder that a variable of the XDG Base Directory Specification names, by default one in the home directory.

    The specification has relative values ignored. `remedy` is the variable to be set where there is neither.
    """
    stated = _environment(variable)
    if stated is not None and stated.is_absolute():
        return stated
    home = home_directory()
    if home is None:
        raise NoCacheFolderError(
            "There is no folder for the cache: this user has no home directory.",
            hint=f"Set {remedy} to the absolute path of a writable folder.",
        )
    return home / folder


def _environment(name: str) -> Path | None:
    """The path in a variable, expanded; None where it is empty. Raises NoCacheFolderError."""
    value = os.environ.get(name, "")
    first, slash, rest = value.partition("/")
    if first == "~":
        home = home_directory()
        value = value if home is None else f"{home}{slash}{rest}"
    value = os.path.expandvars(os.path.expanduser(value))
    if value.startswith("~"):
        raise NoCacheFolderError(
            f"{name} is {value}, and that home directory does not exist.",
            hint=f"Set {name} to the absolute path of a writable folder.",
        )
    return Path(value) if value else None
