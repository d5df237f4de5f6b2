"""The folders of caches: from the environment, otherwise in the home directory, which a container may lack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from zoo.core.errors import CannotWriteError

GRAPHS = "graphs"
"""The folder of graphs that were written and verified, in the folder for what zoo remembers."""

COMPILED = "compiled"
"""The folder of what torch.compile keeps, beside them."""

_downloads: ContextVar[Path | None] = ContextVar("downloads", default=None)


class NoCacheFolderError(CannotWriteError):
    """A cache has no location: the environment does not set it, and there is no home directory."""


@contextmanager
def downloads_in(folder: str | Path | None) -> Iterator[None]:
    """Keep what is downloaded in this block in one folder, of the Hub in its usual tree; None changes nothing."""
    if folder is None:
        yield
        return
    token = _downloads.set(Path(folder).expanduser())
    try:
        yield
    finally:
        _downloads.reset(token)


def hub_cache() -> Path:
    """The cache folder of huggingface_hub, from the same variables in the same order. Raises NoCacheFolderError."""
    if chosen := _downloads.get():
        return chosen
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if root := _environment(name):
            return root
    home = _environment("HF_HOME")
    return (home or _below_home("XDG_CACHE_HOME", ".cache", "HF_HOME") / "huggingface") / "hub"


def torch_hub_checkpoints() -> Path:
    """The download folder of torch.hub. Raises NoCacheFolderError."""
    if chosen := _downloads.get():
        return chosen
    home = _environment("TORCH_HOME")
    return (home or _below_home("XDG_CACHE_HOME", ".cache", "TORCH_HOME") / "torch") / "hub" / "checkpoints"


def state_folder() -> Path:
    """The folder for what zoo remembers between runs. Raises NoCacheFolderError."""
    return _below_home("XDG_STATE_HOME", ".local/state", "XDG_STATE_HOME") / "zoo"


def existing(folder: Callable[[], Path]) -> Path | None:
    """The folder that one of these functions returns; None if its location is unknown."""
    try:
        return folder()
    except NoCacheFolderError:
        return None


def home_directory() -> Path | None:
    """The home directory: HOME, otherwise the system's entry for the user; None if it is not an absolute path."""
    home = os.environ.get("HOME", "")
    if not home:
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # the user has no entry, as in a container with an arbitrary user id
            return None
    return Path(home) if os.path.isabs(home) else None


def _below_home(variable: str, folder: str, remedy: str) -> Path:
    """The folder in a variable of the XDG Base Directory Specification; by default one in the home directory.

    Relative values are ignored, as specified. `remedy` is the variable to set if there is neither.
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
    """The path in a variable, expanded; None if it is empty. Raises NoCacheFolderError."""
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
