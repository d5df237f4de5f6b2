"""The manual page zoo(1) in troff's man macros, from the help of the commands."""

import re
from collections.abc import Callable, Iterable

HEADER = r""".\" Written by docs/generate.py from the help of the commands; change it there, then run `make docs`.
.TH ZOO 1 "" "zoo" "User Commands"
.SH NAME
zoo \- inspect image models and convert their weights, for any number of input channels
.SH SYNOPSIS
.B zoo
.RI [ OPTIONS ]
.I COMMAND
.RI [ ARGUMENTS ]
"""

FOOTER = r""".SH ENVIRONMENT
.TP
.B HF_HOME, HF_HUB_CACHE
Where the cache of weights is.
.TP
.B HF_HUB_OFFLINE
If set to 1, no request is made.
.TP
.B ZOO_TIMEOUT
Seconds after which a download is given up.
.TP
.B ZOO_DEBUG
If set, errors show where they happened, as with
.BR \-\-verbose .
.TP
.B NO_COLOR
If set, tables are drawn without colour.
"""


def man_page(names: Iterable[str], help_text: Callable[..., str]) -> str:
    """The whole page.

    Args:
        names: every command, with the commands of groups as two words.
        help_text: what `zoo WORDS --help` prints.
    """
    sections = [HEADER, ".SH DESCRIPTION\n", _preformatted(help_text())]
    sections += [".SH COMMANDS\n"]
    for name in names:
        sections += [f".SS {_escaped(f'zoo {name}')}\n", _preformatted(help_text(*name.split()))]
    return "".join([*sections, FOOTER])


def _preformatted(text: str) -> str:
    """Text as it stands, without the line of usage marks that troff would take for requests."""
    return ".nf\n" + "".join(f"{_escaped(line)}\n" for line in text.splitlines()) + ".fi\n"


def _escaped(line: str) -> str:
    r"""A line that troff prints as it is: backslashes and hyphens escaped, no request at its start."""
    plain = line.replace("\\", r"\e").replace("-", r"\-")
    plain = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in plain)
    return re.sub(r"^(?=[.'])", r"\\&", plain)
