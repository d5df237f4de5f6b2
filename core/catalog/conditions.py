"""Conditions over the table of models: `params<30M and license~apache and stride=8`. Standard library only.

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" condition ")" | flag | column operator value
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~"
    value      = word | number, with % or k, M, G, T behind it | text in quotes

`=` compares text with a shell pattern, and `~` looks for the text anywhere; the case of letters does not count. The
word `unknown` stands for a value that nobody published. No order holds for such a value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

from zoo.core.catalog.columns import COLUMNS, Column, ModelRow, Value
from zoo.core.errors import Place, UsageError

Predicate = Callable[[ModelRow], bool]

MOST_CHARACTERS = 4096
DEEPEST = 50
"""Limits of what a person writes: a longer or deeper text comes from a program gone wrong."""

UNKNOWN = "unknown"
_FACTORS = {"": 1.0, "%": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_OPERATORS = ("<=", ">=", "!=", "!~", "==", "<", ">", "=", "~")
_ENDS_A_WORD = frozenset(" \t\r\n()<>=~!'\"&|,;")
_CONNECTIVES = ("and", "or", "not")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_IN_ORDER = ("<", "<=", ">", ">=")


class Condition(NamedTuple):
    """A parsed condition: whether it holds for a row, and the columns that it names, in order."""

    holds: Predicate
    columns: tuple[str, ...]


def parse_condition(text: str) -> Condition:
    """Parse a condition.

    Raises UsageError, whose `place` points at the part of the text that is wrong.
    """
    return _Parser(text).parse()


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    stop: int

    @property
    def plain(self) -> str:
        """The text without quotes."""
        return self.text[1:-1] if self.kind == "quoted" else self.text


class _Parser:
    """One pass over the tokens of a text, by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) > MOST_CHARACTERS:
            raise UsageError(f"A condition has at most {MOST_CHARACTERS} characters, found {len(text)}.")
        self._tokens = self._tokenize()
        self._next = 0
        self._depth = 0
        self._columns: list[str] = []

    def parse(self) -> Condition:
        if self._token.kind == "end":
            raise self._error(self._token, "The condition is empty.", "For example: --where 'params<30M and top1>80'.")
        holds = self._any()
        if self._token.kind != "end":
            if self._token.text == ")":
                raise self._error(
                    self._token, "This bracket closes none that is open.", "Leave it out, or open one before."
                )
            raise self._error(
                self._token,
                f"Expected 'and' or 'or' before {self._token.text!r}.",
                "A value with spaces in it needs quotes: license~'cc by'.",
            )
        return Condition(holds, tuple(dict.fromkeys(self._columns)))

    # ------------------------------------------------------------ tokens

    def _tokenize(self) -> list[_Token]:
        # By hand: compiling a pattern for it takes longer than the rest of the parser.
        text, at, tokens = self._text, 0, []
        while at < len(text):
            character, kind = text[at], ""
            stop = at + 1
            if character.isspace():
                at = stop
                continue
            if character in "()":
                kind = "bracket"
            elif character in "'\"":
                stop = text.find(character, at + 1) + 1
                kind = "quoted" if stop else ""
            elif found := next((one for one in _OPERATORS if text.startswith(one, at)), ""):
                kind, stop = "operator", at + len(found)
            elif character not in _ENDS_A_WORD:
                kind = "word"
                while stop < len(text) and text[stop] not in _ENDS_A_WORD:
                    stop += 1
            if not kind:
                raise self._unknown_character(at)
            tokens.append(_Token(kind, text[at:stop], at, stop))
            at = stop
        end = len(text.rstrip())
        return [*tokens, _Token("end", "", end, end + 1)]

    def _unknown_character(self, at: int) -> UsageError:
        character = self._text[at]
        token = _Token("", character, at, at + 1)
        if character in "'\"":
            return self._error(token, "The text in quotes does not end.", f"Close it with {character}.")
        hints = {"&": "Write `and`.", "|": "Write `or`.", ",": "Write `and`.", ";": "Write `and`."}
        hints["!"] = "Write `not`, or != and !~ between a column and a value."
        return self._error(token, f"{character!r} has no meaning here.", hints.get(character, "Put text in quotes."))

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _is_word(self, word: str) -> bool:
        return self._token.kind == "word" and self._token.text.lower() == word

    def _error(self, token: _Token, message: str, hint: str) -> UsageError:
        return UsageError(message, hint=hint, place=Place(self._text, token.start, token.stop))

    # ------------------------------------------------------------ grammar

    def _any(self) -> Predicate:
        parts = [self._all()]
        while self._is_word("or"):
            self._take()
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _all(self) -> Predicate:
        parts = [self._one()]
        while self._is_word("and"):
            self._take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _one(self) -> Predicate:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(self._token, f"Conditions are nested at most {DEEPEST} deep.", "Leave out brackets.")
        try:
            if self._is_word("not"):
                self._take()
                part = self._one()
                return lambda row: not part(row)
            if self._token.text == "(" and self._token.kind == "bracket":
                return self._in_brackets()
            return self._comparison()
        finally:
            self._depth -= 1

    def _in_brackets(self) -> Predicate:
        opening = self._take()
        inside = self._any()
        if self._token.text != ")":
            if self._token.kind == "end":
                raise self._error(opening, "This bracket is never closed.", "Close it with ')'.")
            raise self._error(
                self._token, f"Expected ')', 'and' or 'or' before {self._token.text!r}.", "Close the bracket."
            )
        self._take()
        return inside

    def _comparison(self) -> Predicate:
        column = self._column()
        comparison = self._token
        if comparison.kind != "operator":
            if column.kind == "flag":
                return lambda row: bool(column.value(row))
            raise self._error(
                comparison,
                f"Expected a comparison after {column.name}, such as {_example(column)}.",
                "Put the whole condition in quotes: the shell reads < and > itself.",
            )
        self._take()
        return self._compare(column, comparison)

    def _column(self) -> Column:
        token = self._take()
        if token.kind == "word" and token.text.lower() in COLUMNS:
            self._columns.append(token.text.lower())
            return COLUMNS[token.text.lower()]
        known = f"The columns are {', '.join(COLUMNS)}."
        if token.kind == "end":
            raise self._error(token, "Expected a column, found the end.", known)
        if token.kind in ("operator", "bracket") or token.text.lower() in _CONNECTIVES:
            raise self._error(token, f"Expected a column, found {token.text!r}.", known)
        if _parse_number(token.text) is not None:
            raise self._error(
                token, f"Expected a column, found the number {token.text}.", "Write the column first: top1>80."
            )
        raise self._error(token, f"No column is called {token.plain!r}.", _nearest(token.plain) or known)

    def _value(self, column: Column) -> _Token:
        token = self._take()
        if token.kind in ("word", "quoted") and token.text.lower() not in _CONNECTIVES:
            return token
        if token.kind == "operator":
            raise self._error(
                token,
                f"Two comparisons stand together before {token.text!r}.",
                "The operators are = != < <= > >= ~ !~.",
            )
        found = f"found {token.text!r}" if token.text else "found the end"
        raise self._error(token, f"Expected a value for {column.name}, {found}.", f"For example: {_example(column)}.")

    # ------------------------------------------------------------ comparisons

    def _compare(self, column: Column, comparison: _Token) -> Predicate:
        token = self._value(column)
        negated, sign = comparison.text.startswith("!"), comparison.text.removeprefix("!").replace("==", "=")
        if column.kind == "text":
            holds = self._text_test(column, sign, comparison, token)
        elif column.kind == "flag":
            holds = self._flag_test(column, sign, comparison, token)
        else:
            holds = self._number_test(column, sign, comparison, token)
        return (lambda row: not holds(row)) if negated else holds

    def _text_test(self, column: Column, sign: str, comparison: _Token, token: _Token) -> Predicate:
        if sign in _IN_ORDER:
            raise self._error(
                comparison, f"{column.name} is a text, and texts have no order.", f"For example: {_example(column)}."
            )
        wanted = token.plain.lower()
        if sign == "~":
            return lambda row: wanted in str(column.value(row) or "").lower()
        if wanted == UNKNOWN and token.kind == "word":
            return lambda row: column.value(row) is None
        return lambda row: fnmatchcase(str(column.value(row) or "").lower(), wanted)

    def _flag_test(self, column: Column, sign: str, comparison: _Token, token: _Token) -> Predicate:
        if sign != "=":
            raise self._error(
                comparison, f"{column.name} is yes or no.", f"For example: {column.name}, or not {column.name}."
            )
        if token.plain.lower() not in (*_YES, *_NO):
            raise self._error(token, f"{column.name} is yes or no, found {token.plain!r}.", f"Write {column.name}=yes.")
        wanted = token.plain.lower() in _YES
        return lambda row: bool(column.value(row)) is wanted

    def _number_test(self, column: Column, sign: str, comparison: _Token, token: _Token) -> Predicate:
        if sign == "~":
            raise self._error(
                comparison, f"{column.name} is a number, and ~ looks into texts.", f"For example: {_example(column)}."
            )
        if token.text.lower() == UNKNOWN:
            if sign in _IN_ORDER:
                raise self._error(comparison, "An unknown value has no order.", f"Write {column.name}={UNKNOWN}.")
            return lambda row: column.value(row) is None
        number, order, value_of = self._number(column, token), _ORDERS[sign], column.value
        if column.kind == "numbers":
            return lambda row: any(order(value, number) for value in _numbers(value_of(row)))

        def holds(row: ModelRow) -> bool:
            value = value_of(row)
            return isinstance(value, int | float) and order(value, number)

        return holds

    def _number(self, column: Column, token: _Token) -> float:
        parsed = _parse_number(token.text)
        if parsed is None:
            raise self._error(
                token,
                f"{column.name} is a number, found {token.plain!r}.",
                "Numbers are written as 224, 0.95, 30M or 4.1G; the units are k, M, G and T.",
            )
        number, unit = parsed
        if unit == "%" and not column.is_percent:
            raise self._error(token, f"{column.name} is no percentage.", f"For example: {_example(column)}.")
        if column.is_percent and 0 < number <= 1 and unit != "%":
            raise self._error(
                token, f"{column.name} is in percent, found {token.text}.", f"For example: {column.name}>80."
            )
        return number


def _parse_number(text: str) -> tuple[float, str] | None:
    """The number and its unit; None for any other text."""
    unit = text[-1:] if text[-1:].lower() in _FACTORS else ""
    digits = text.removesuffix(unit)
    if not (digits.isascii() and digits.lstrip("+-.")[:1].isdigit()):
        return None  # also "nan" and "infinity", which float() takes
    try:
        return float(digits) * _FACTORS[unit.lower()], unit
    except ValueError:
        return None


_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _numbers(value: Value) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else ()


def _example(column: Column) -> str:
    if column.kind == "text":
        return f"{column.name}~net" if column.name in ("name", "family") else f"{column.name}~apache"
    if column.kind == "flag":
        return f"{column.name}=yes"
    return f"{column.name}>80" if column.is_percent else f"{column.name}<{'30M' if column.is_large else '256'}"


def _nearest(word: str) -> str:
    import difflib

    other_names = {"parameters": "params", "size": "input", "img_size": "input", "input_size": "input"}
    other_names |= {"flops": "macs", "gmacs": "macs", "accuracy": "top1", "acc": "top1", "licence": "license"}
    other_names |= {"module": "family", "reduction": "stride", "model": "name", "architecture": "name"}
    near = [other_names[word.lower()]] if word.lower() in other_names else []
    near = near or difflib.get_close_matches(word.lower(), COLUMNS, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else ""
