"""Errors that the user can act on: one sentence, a hint, an exit code."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class ExitCode(IntEnum):
    """Exit codes that a shell script can branch on. Part of the public interface: values never change meaning."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    PARTIAL = 3
    INVALID_INPUT = 4
    NOT_FOUND = 5
    CANNOT_WRITE = 6
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class Place(NamedTuple):
    """A part of a text that a person wrote: its characters from `start` up to `stop`, counted from 0.

    `stop` may lie behind the end, where something is missing.
    """

    text: str
    start: int
    stop: int


class ZooError(Exception):
    """Base of every error that zoo raises on purpose.

    Args:
        message: one sentence that says what was expected and what was found.
        hint: what to do about it, with the command if there is one.
        path: the file concerned, for machine-readable output.
        place: the part of what was written that is wrong; it is shown with a caret under it.
    """

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, hint: str = "", path: str = "", place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path
        self.place = place

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(ZooError, ValueError):
    """The request itself makes no sense, whatever the files hold."""

    exit_code = ExitCode.USAGE


class UnknownOptionError(UsageError, TypeError):
    """A model has no option of that name (also a TypeError, as for a keyword)."""


class PartialError(ZooError):
    """Some items failed; the rest is done and on disk."""

    exit_code = ExitCode.PARTIAL


class InvalidInputError(ZooError, ValueError):
    """A file is corrupt, unsafe, or does not match its use."""

    exit_code = ExitCode.INVALID_INPUT


class UnknownArgumentError(InvalidInputError, TypeError):
    """A file states an argument that its model does not have (also a TypeError, as for a keyword)."""


class NotFoundError(ZooError, LookupError):
    """A model, tag, file or remote resource does not exist (or the network is down)."""

    exit_code = ExitCode.NOT_FOUND


class UnknownModelError(NotFoundError, RuntimeError):
    """No model has that name (also a RuntimeError, as in timm)."""


class DuplicateModelError(ZooError, ValueError):
    """A model of that name is already registered."""


class CannotWriteError(ZooError):
    """The output could not be written; existing files are untouched."""

    exit_code = ExitCode.CANNOT_WRITE
