"""Remove passwords, tokens and signed queries from every printed text.

zoo's own messages should contain none. This is the last line of defence: it also covers messages of libraries,
tracebacks, and URLs that the user typed.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache

HIDDEN = "***"

_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3})"  # only one slash is left of a URL that was parsed as a path
_END = r"\s\"'<>\\"  # end of a URL in a sentence, or in a JSON string
_USER = re.compile(_SCHEME + rf"[^{_END}/?#]*@")
# A password with a slash in it: the part in the port's place is not a port.
_SPLIT_USER = re.compile(_SCHEME + rf"[^{_END}/?#@:\[]*:(?!\d*(?:[/?#{_END}]|$))[^{_END}]*@")
_QUERY = re.compile(_SCHEME + rf"([^{_END}?#]*)\?[^{_END}#]+")
_FRAGMENT = re.compile(_SCHEME + rf"([^{_END}#]*)#(?!sha256=)[^{_END}]*=[^{_END}]*")
_TOKEN = re.compile(rf"\bBearer [^{_END}]+|\bhf_[A-Za-z0-9]{{16,}}")

_TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_URL_VARIABLES = ("HF_ENDPOINT",)
_SHORTEST = 3
_LONGEST_WORD = 11


def redacted(text: str, *, is_result: bool = False) -> str:
    """`text` without the user and query of URLs, without tokens, and without secrets of the environment.

    Args:
        text: the text to print, plain or JSON.
        is_result: whether a program reads it: then a password that is an ordinary short word does not hide a folder of
            that name.
    """
    if ":/" in text:
        text = _USER.sub(r"\1", _SPLIT_USER.sub(r"\1", text))
        text = _QUERY.sub(rf"\1\2?{HIDDEN}", text)
        text = _FRAGMENT.sub(rf"\1\2#{HIDDEN}", text)
    if "Bearer " in text or "hf_" in text:
        text = _TOKEN.sub(HIDDEN, text)
    for secret, pattern in _secrets(_from_environment()):
        if secret in text and not (is_result and secret.isalpha() and len(secret) <= _LONGEST_WORD):
            text = pattern.sub(HIDDEN, text)
    return text


def _from_environment() -> tuple[tuple[str, bool], ...]:
    """The environment's values that hold secrets, each with whether it is a URL."""
    found = [(os.environ[name], False) for name in _TOKEN_VARIABLES if name in os.environ]
    for name, value in os.environ.items():
        if name in _URL_VARIABLES or name.lower().endswith("_proxy"):
            found.append((value, True))
    return tuple(found)


@lru_cache(maxsize=8)
def _secrets(values: tuple[tuple[str, bool], ...]) -> list[tuple[str, re.Pattern[str]]]:
    """Every secret in every form in which it may be written, the longest first."""
    import json

    plain = {part.strip() for value, is_url in values for part in (_secrets_of_url(value) if is_url else [value])}
    written = plain | {json.dumps(secret)[1:-1] for secret in plain}
    return [(secret, _whole(secret)) for secret in sorted(written, key=len, reverse=True) if len(secret) >= _SHORTEST]


def _secrets_of_url(url: str) -> set[str]:
    from base64 import b64encode
    from urllib.parse import parse_qsl, unquote, urlsplit

    _, _, after = url.rpartition("://")  # a proxy may come without a scheme
    user, at, _ = after.rpartition("@")
    found = set()
    if at:
        name, colon, password = user.partition(":")
        found = {password if colon else name}
        found |= {unquote(secret) for secret in found}
        # A URL parser quotes the part before an unescaped slash.
        found |= {part for secret in found for part in re.split(r"[/?#@]", secret)}
        for pair in (user, unquote(user)) if colon else ():
            found |= {pair, b64encode(pair.encode()).decode()}
    with suppress(ValueError):  # not a URL
        found |= {value for _, value in parse_qsl(urlsplit(url).query)}
    return found


def _whole(secret: str) -> re.Pattern[str]:
    """A pattern for the secret as a whole word."""
    before = r"(?<!\w)" if re.match(r"\w", secret[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", secret[-1]) else ""
    return re.compile(before + re.escape(secret) + after)
