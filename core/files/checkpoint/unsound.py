"""What the readers of this package raise; `open_checkpoint` says which file it was about."""

from __future__ import annotations


class UnsoundError(Exception):
    """A file is damaged, hostile, or another thing than a checkpoint.

    Args:
        what: completes "<path> is not a sound <format>: ..."; with `whole` it completes "<path> ...".
        hint: what to do about it.
    """

    def __init__(self, what: str, hint: str = "Download or copy it again.", *, whole: bool = False) -> None:
        super().__init__(what)
        self.what, self.hint, self.whole = what, hint, whole


class NothingFoundError(UnsoundError):
    """There is no tensor in a file."""


class RefusedCallError(UnsoundError):
    """A pickle wants something called: `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"is a pickle that asks for {name[:80]}, which a state dict has no need of; it was not loaded",
            "Where it was made, save `model.state_dict()` alone, best as safetensors.",
            whole=True,
        )
        self.name = name


def refused(name: str) -> UnsoundError:
    """The error for a pickle that wants something called without which there are no tensors."""
    return RefusedCallError(name)
