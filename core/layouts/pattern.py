"""Key patterns with numbered placeholders: a key yields the numbers, and the numbers yield the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

Bindings = Mapping[str, int | str]
"""Placeholder -> its number; `*` -> the text it stands for."""

_PLACEHOLDER = re.compile(
    r"\{(?P<factor>\d*)(?P<name>[a-z](?:\.[a-z])?)(?P<shift>[+-]\d+)?(?P<form>:a|:02)?\}|(?P<rest>\*\*?)"
)
_FORMS = {None: "0|[1-9][0-9]{0,5}", ":02": "[0-9]{2}|[1-9][0-9]{2,5}", ":a": "[a-z]"}
"""How a number is written, by what stands behind its placeholder."""


class Pattern:
    """A key or its beginning: `features.{2s+1}.{b}.norm.*`.

    `{s}` is a number, and `{2s+1}` a number computed from it. `{s.b}` numbers the blocks b of all stages s
    consecutively, `{b:a}` is a letter, a for 0, and `{b:02}` has two digits. `*` is the last component of a key, `**`
    any text. A placeholder may occur twice in the same form.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def match(self, key: str) -> tuple[dict[str, int | str], str] | None:
        """The placeholders' values and the rest of the key; None if the key does not begin with the pattern."""
        expression, terms = self._compiled
        found = expression.match(key)
        if found is None:
            return None
        values: dict[str, int | str] = {}
        for name, (factor, shift) in terms.items():
            text = found[_group(name)]
            number, remainder = divmod((int(text) if text.isdecimal() else ord(text) - ord("a")) - shift, factor)
            if remainder or number < 0:
                return None
            values[name] = number
        if "rest" in expression.groupindex:
            values["*"] = found["rest"]
        return values, key[found.end() :]

    def fill(self, values: Bindings) -> str:
        """The key for these values."""

        def number(found: re.Match[str]) -> str:
            if found["rest"]:
                return str(values["*"])
            factor, shift = _term(found)
            filled = int(values[found["name"]]) * factor + shift
            if found["form"] == ":02":
                return f"{filled:02}"
            return chr(ord("a") + filled) if found["form"] else str(filled)

        return _PLACEHOLDER.sub(number, self.text)

    @cached_property
    def beginning(self) -> str:
        """The text before the first placeholder."""
        return re.split(r"[{*]", self.text, maxsplit=1)[0]

    @cached_property
    def names(self) -> frozenset[str]:
        """The placeholders of the pattern."""
        return frozenset(self._compiled[1])

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], dict[str, tuple[int, int]]]:
        terms: dict[str, tuple[int, int]] = {}
        parts, end = [], 0
        for found in _PLACEHOLDER.finditer(self.text):
            parts.append(re.escape(self.text[end : found.start()]))
            end = found.end()
            if found["rest"]:
                parts.append(f"(?P<rest>{'.+' if found['rest'] == '**' else '[^./]+'})")
            elif found["name"] in terms:
                parts.append(f"(?P={_group(found['name'])})")
            else:
                terms[found["name"]] = _term(found)
                parts.append(rf"(?P<{_group(found['name'])}>{_FORMS[found['form']]})")
        parts.append(re.escape(self.text[end:]))
        return re.compile("".join(parts)), terms


def _term(found: re.Match[str]) -> tuple[int, int]:
    return int(found["factor"] or 1), int(found["shift"] or 0)


def _group(name: str) -> str:
    return name.replace(".", "_")
