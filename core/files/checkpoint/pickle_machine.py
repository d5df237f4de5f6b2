"""Read pickles as data: the instructions are followed, but nothing that they name is imported or called.

CPython's pickletools describes the instructions. The vocabulary decides what a global name stands for and what a call
becomes; the machine keeps the stack, the memo and the limits.
"""

from __future__ import annotations

import io
import os
import struct
from codecs import escape_decode
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.stored_tensor import Computed, Region

MAX_STEPS = 1_000_000
"""The most instructions in one pickle; each takes up to some hundred bytes of memory."""
MAX_BYTES = 1 << 26
"""The most bytes of short strings in one pickle, including copies by calls; long strings stay in the file."""
_LONG = 1 << 12
_TOO_MUCH = "Where it was made, save the state dict alone: torch.save for tensors, numpy.savez for arrays."
_MAX_LINE = 1 << 16
_MAX_NAME = 1000
_MAX_KEY_PARTS = 16
_MAX_INTEGER = 1 << 10
"""The most bytes of one integer: parsing decimal text takes quadratic time."""
_DAMAGE = (LookupError, AttributeError, TypeError, ValueError, OverflowError, RecursionError, struct.error)
"""Errors that damaged instructions cause, here and in the vocabulary, through operands of the wrong kind."""
_SCALARS = (str, int, float, bool, bytes, type(None))


class Vocabulary(Protocol):
    """The meaning of names in a pickle. Each method raises UnsoundError for what it does not accept."""

    def find(self, module: str, name: str) -> Any:
        """The object for a global name."""

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """The result of a call."""

    def create(self, kind: Any, arguments: tuple[Any, ...]) -> Any:
        """An object of a class, made without calling the class."""

    def persistent(self, key: Any) -> Any:
        """The object stored outside the pickle under this key."""

    def build(self, value: Any, state: Any) -> None:
        """Give an object its state."""


class Record:
    """An object that a pickle describes: the name of its class and its contents, without behaviour."""

    __slots__ = ("arguments", "elements", "items", "kind", "state")

    def __init__(self, kind: str, arguments: tuple[Any, ...] = ()) -> None:
        self.kind, self.arguments = kind, arguments
        self.state: Any = None
        self.items: dict[Any, Any] | None = None
        self.elements: list[Any] | None = None


class OpaqueCall(Record):
    """A call that a pickle asks for and that is not made: its function, its arguments, and its result's contents."""

    __slots__ = ()


class LongString:
    """Bytes or UTF-8 text of a pickle that stay in the file; `data` are bytes computed from such text."""

    __slots__ = ("data", "is_text", "region")

    def __init__(self, region: Region, *, is_text: bool = False, data: Computed | None = None) -> None:
        self.region, self.is_text, self.data = region, is_text, data


class PickleMachine:
    """Reads one pickle from a stream and leaves the stream at its end.

    A set becomes a list: nobody needs membership tests, and elements then need no hash.

    Args:
        stream: a stream of the region.
        vocabulary: the meaning of its names.
        region: the location of the stream's bytes, for strings that are too long to read.
    """

    def __init__(self, stream: io.BufferedReader, vocabulary: Vocabulary, region: Region) -> None:
        self._stream, self._vocabulary, self._region = stream, vocabulary, region
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._budget = MAX_BYTES

    def load(self) -> Any:
        """Return the value. Raises UnsoundError: damaged, over a limit, or something not accepted is requested."""
        read, instructions = self._stream.read, _INSTRUCTIONS
        try:
            for _ in range(MAX_STEPS):
                code = read(1)
                if code == b".":
                    return self._pop()
                instructions[code](self)
        except _DAMAGE as error:
            raise UnsoundError(f"its pickle is damaged ({type(error).__name__}: {str(error)[:80]})") from None
        raise UnsoundError(f"its pickle takes more than {MAX_STEPS} steps", _TOO_MUCH)

    # ------------------------------------------------------------ the stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise IndexError("nothing on the stack")
        return self._stack.pop()

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _last(self, count: int) -> tuple[Any, ...]:
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise IndexError("too few on the stack")
        values = tuple(self._stack[start:])
        del self._stack[start:]
        return values

    def _pop_or_mark(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _remember(self, key: int) -> None:
        if key < 0:
            raise ValueError("a memo before the first")
        self._memo[key] = self._stack[-1]

    # ------------------------------------------------------------ bytes of the stream

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise UnsoundError(f"what is in its pickle takes more than {MAX_BYTES} bytes", _TOO_MUCH)

    def _bytes(self, count: int) -> bytes:
        self._spend(count)
        data = self._stream.read(count)
        if len(data) != count:
            raise ValueError("it ends within a string")
        return data

    def _number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._bytes(width), "little", signed=signed)

    def _byte(self) -> int:
        return self._stream.read(1)[0]

    def _line(self, limit: int = _MAX_LINE) -> str:
        line = self._stream.readline(limit)
        if not line.endswith(b"\n"):
            raise ValueError("a line without an end")
        self._spend(len(line))
        return line[:-1].decode("latin-1")

    def _sized(self, width: int) -> bytes:
        return self._bytes(self._byte() if width == 1 else self._number(width))

    def _long(self, width: int, *, is_text: bool = False) -> bytes | LongString:
        """Read a length-prefixed string; a long string is skipped and stays in the file."""
        count = self._byte() if width == 1 else self._number(width)
        if count < _LONG:
            return self._bytes(count)
        start = self._stream.tell()
        if count > self._region.length - start:
            raise UnsoundError(f"a string in its pickle takes more than the {self._region.length - start} bytes left")
        self._stream.seek(count, os.SEEK_CUR)
        return LongString(self._region._replace(offset=self._region.offset + start, length=count), is_text=is_text)

    def _text(self, width: int, encoding: str) -> str | LongString:
        data = self._long(width, is_text=encoding == "utf-8")
        return data if isinstance(data, LongString) else data.decode(encoding, "surrogatepass")

    def _integer(self, width: int) -> int:
        length = self._number(width)
        if length > _MAX_INTEGER:
            raise ValueError("an integer of absurd length")
        return self._number(length, signed=True)

    def _integer_line(self) -> int | bool:
        text = self._line().removesuffix("L")
        if len(text) > _MAX_INTEGER:
            raise ValueError("an integer of absurd length")
        return text == "01" if text in ("00", "01") else int(text)

    def _quoted_line(self) -> str:
        text = self._line(self._budget)
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"'":
            raise ValueError("a string without quotes")
        return escape_decode(text[1:-1])[0].decode("latin-1")

    # ------------------------------------------------------------ containers

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target.elements = target.elements or []
            target = target.elements
        if not isinstance(target, list):
            raise TypeError("elements for what is no list")
        target.extend(values)

    def _set_items(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target.items = target.items or {}
            target = target.items
        if not isinstance(target, dict):
            raise TypeError("items for what is no dictionary")
        target.update(_items(pairs))

    # ------------------------------------------------------------ what the vocabulary decides

    def _find(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a global whose name is no text")
        if len(module) + len(name) > _MAX_NAME:
            raise ValueError("a global with an absurd name")
        return self._vocabulary.find(module, name)

    def _call(self, function: Any, arguments: Any) -> None:
        self._spend(_copied(arguments))
        self._push(self._vocabulary.call(function, _arguments(arguments)))

    def _call_of_mark(self) -> None:
        function, *arguments = self._since_mark()
        self._call(function, tuple(arguments))

    def _call_of_line(self) -> None:
        function = self._find(self._line(), self._line())
        self._call(function, tuple(self._since_mark()))

    def _create(self, kind: Any, arguments: Any, _keywords: Any = None) -> None:
        self._spend(_copied(arguments))
        self._push(self._vocabulary.create(kind, _arguments(arguments)))

    def _build(self) -> None:
        state = self._pop()
        self._spend(_copied(state))
        self._vocabulary.build(self._stack[-1], state)

    def _skip_protocol(self) -> None:
        if self._number(1) > 5:
            raise ValueError("a protocol after 5")

    def _skip_frame(self) -> None:
        self._bytes(8)

    def _refuse_extension(self) -> NoReturn:
        raise UnsoundError("its pickle uses extension codes that only the program that wrote it knows")

    def _refuse_buffer(self) -> NoReturn:
        raise UnsoundError("its pickle needs buffers that are not in it")


def _items(pairs: list[Any]) -> dict[Any, Any]:
    if len(pairs) % 2:
        raise ValueError("a key without a value")
    return dict(zip(map(checked_key, pairs[::2]), pairs[1::2], strict=True))


def _copied(value: Any, levels: int = 2) -> int:
    """Bytes of its arguments that a call may copy: a memoised list could be copied at every step."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return 100 * len(value)
    if isinstance(value, list | tuple):
        inner = sum(_copied(part, levels - 1) for part in value) if levels and len(value) < 1000 else 0
        return 8 * len(value) + inner
    return 0


def checked_key(key: Any) -> Any:
    """A key with a cheap hash: a deep tuple would overflow the stack, and large integers can all have the same hash.

    Raises TypeError for any other key.
    """
    parts = key if type(key) is tuple else (key,)
    if len(parts) > _MAX_KEY_PARTS:
        raise TypeError("a key of many parts")
    for part in parts:
        plain = isinstance(part, _SCALARS) and (type(part) is not int or -(1 << 63) <= part < 1 << 63)
        if not plain and type(part).__hash__ is not object.__hash__:  # type: ignore[comparison-overlap]
            raise TypeError("a key that is no plain value")
    return key


def _arguments(values: Any) -> tuple[Any, ...]:
    if not isinstance(values, tuple):
        raise TypeError("arguments that are no tuple")
    return values


_M = PickleMachine
_INSTRUCTIONS: dict[bytes, Callable[[PickleMachine], None]] = {
    # the stack and the memo
    b"(": lambda m: m._marks.append(len(m._stack)),
    b"0": _M._pop_or_mark,
    b"1": lambda m: m._since_mark().clear(),
    b"2": lambda m: m._push(m._stack[-1]),
    b"p": lambda m: m._remember(int(m._line()[:20])),
    b"q": lambda m: m._remember(m._byte()),
    b"r": lambda m: m._remember(m._number(4)),
    b"\x94": lambda m: m._remember(len(m._memo)),
    b"g": lambda m: m._push(m._memo[int(m._line()[:20])]),
    b"h": lambda m: m._push(m._memo[m._byte()]),
    b"j": lambda m: m._push(m._memo[m._number(4)]),
    # constants and numbers
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": lambda m: m._push(m._integer_line()),
    b"L": lambda m: m._push(m._integer_line()),
    b"J": lambda m: m._push(m._number(4, signed=True)),
    b"K": lambda m: m._push(m._byte()),
    b"M": lambda m: m._push(m._number(2)),
    b"\x8a": lambda m: m._push(m._integer(1)),
    b"\x8b": lambda m: m._push(m._integer(4)),
    b"F": lambda m: m._push(float(m._line())),
    b"G": lambda m: m._push(struct.unpack(">d", m._bytes(8))[0]),
    # text and bytes, which Python 2 did not distinguish
    b"S": lambda m: m._push(m._quoted_line()),
    b"T": lambda m: m._push(m._text(4, "latin-1")),
    b"U": lambda m: m._push(m._sized(1).decode("latin-1")),
    b"V": lambda m: m._push(m._line(m._budget).encode("latin-1").decode("raw-unicode-escape")),
    b"X": lambda m: m._push(m._text(4, "utf-8")),
    b"\x8c": lambda m: m._push(m._sized(1).decode("utf-8", "surrogatepass")),
    b"\x8d": lambda m: m._push(m._text(8, "utf-8")),
    b"B": lambda m: m._push(m._long(4)),
    b"C": lambda m: m._push(m._sized(1)),
    b"\x8e": lambda m: m._push(m._long(8)),
    b"\x96": lambda m: m._push(m._long(8)),
    # containers
    b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._since_mark())),
    b"\x85": lambda m: m._push(m._last(1)),
    b"\x86": lambda m: m._push(m._last(2)),
    b"\x87": lambda m: m._push(m._last(3)),
    b"]": lambda m: m._push([]),
    b"l": lambda m: m._push(m._since_mark()),
    b"a": lambda m: m._append([m._pop()]),
    b"e": lambda m: m._append(m._since_mark()),
    b"\x8f": lambda m: m._push([]),
    b"\x90": lambda m: m._append(m._since_mark()),
    b"\x91": lambda m: m._push(m._since_mark()),
    b"}": lambda m: m._push({}),
    b"d": lambda m: m._push(_items(m._since_mark())),
    b"s": lambda m: m._set_items(list(m._last(2))),
    b"u": lambda m: m._set_items(m._since_mark()),
    # what the vocabulary decides
    b"c": lambda m: m._push(m._find(m._line(), m._line())),
    b"\x93": lambda m: m._push(m._find(*m._last(2))),
    b"R": lambda m: m._call(*m._last(2)),
    b"\x81": lambda m: m._create(*m._last(2)),
    b"\x92": lambda m: m._create(*m._last(3)),
    b"o": _M._call_of_mark,
    b"i": _M._call_of_line,
    b"b": _M._build,
    b"P": lambda m: m._push(m._vocabulary.persistent(m._line())),
    b"Q": lambda m: m._push(m._vocabulary.persistent(m._pop())),
    # framing
    b"\x80": _M._skip_protocol,
    b"\x95": _M._skip_frame,
    b"\x82": _M._refuse_extension,
    b"\x83": _M._refuse_extension,
    b"\x84": _M._refuse_extension,
    b"\x97": _M._refuse_buffer,
    b"\x98": _M._refuse_buffer,
}
