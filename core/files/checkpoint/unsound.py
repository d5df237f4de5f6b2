"""Errors of the readers in this package; `find_tensors` adds the file's path."""

from __future__ import annotations


class UnsoundError(Exception):
    """A file is damaged, hostile, or not a checkpoint.

    Args:
        what: completes "<path> is not a sound <format>: ..."; with `whole` it completes "<path> ...".
        hint: what to do about it.
    """

    def __init__(self, what: str, hint: str = "Download or copy it again.", *, whole: bool = False) -> None:
        super().__init__(what)
        self.what, self.hint, self.whole = what, hint, whole


class NothingFoundError(UnsoundError):
    """A file holds no tensor."""


class RefusedCallError(UnsoundError):
    """A pickle asks for a call of `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"is a pickle that asks for {name[:80]}, which a state dict has no need of; it was not loaded",
            "Where it was made, save `model.state_dict()` alone, best as safetensors.",
            whole=True,
        )
        self.name = name


def refused(name: str) -> UnsoundError:
    """The error for a pickle whose tensors require a call."""
    return RefusedCallError(name)
