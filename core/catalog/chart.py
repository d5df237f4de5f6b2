"""A chart of models by cost and worth, with the front named. Matplotlib draws it (extra `plot`), when one is asked for.

The front differs from the rest in shape, size and lightness as well as in colour, and its names stand beside it. So the
chart can be read in black and white, and by people who do not tell the colours apart. The colours are Okabe's and Ito's
(https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from zoo.core.catalog.front import Point, pareto_front
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.extras import import_extra
from zoo.core.files.atomic_output import atomic_output

FORMATS = ("png", "svg", "html")
MOST_NAMED = 40
"""Models of a front that the key has room for; a longer front keeps its line, and every so many of its names."""

BLUE, ORANGE, GREY, INK = "#0072B2", "#E69F00", "#8a8a8a", "#1a1a1a"
_WIDTH, _NARROW, _HEIGHT, _DPI = 11.0, 8.0, 6.5, 120  # inches, without the key, dots per inch
_APART = 0.15 * _DPI  # dots between two numbers
_LOGARITHMIC_FROM = 20  # times the least value
_SETTINGS = {
    "svg.hashsalt": "zoo",  # the same names in each run
    "svg.fonttype": "none",  # text stays text
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class Axis(NamedTuple):
    """An axis of the chart: the column's name, a label, and whether its values are counts (with k, M, G) or percent."""

    column: str
    label: str
    is_count: bool = False
    is_percent: bool = False

    def text(self, value: float) -> str:
        """A value for a reader."""
        if not self.is_count:
            return f"{value:.2f}" if self.is_percent else f"{value:g}"
        size, unit = next((pair for pair in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= pair[0]), (1.0, ""))
        return f"{value / size:.3g}{unit}"


class Drawn(NamedTuple):
    """What was drawn: the front by rising cost, and whether the file held the same before."""

    front: list[Point]
    unchanged: bool


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's name ends with. Raises UsageError for any other."""
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(
            f"A chart is written as {', '.join(f'.{one}' for one in FORMATS)}, found {Path(path).name!r}.",
            hint="For example: --plot pareto.svg",
        )
    return ending


def draw_chart(
    points: Sequence[Point],
    path: str | os.PathLike[str],
    *,
    x: Axis,
    y: Axis,
    title: str = "",
    source: str = "",
    force: bool = False,
) -> Drawn:
    """Write a chart as PNG, SVG or HTML, by the ending of the path. The same points give the same bytes.

    The HTML is one file that needs no network: the chart with a hint for each point, and the front as a table.

    Args:
        points: one or more, with positive cost.
        path: where to write.
        x, y: what cost and worth are.
        title: a line above the chart.
        source: where the figures come from, a line below it.
        force: replace an existing file with other content.

    Raises:
        InvalidInputError: there is no point, or matplotlib is not installed.
        UsageError: the path ends otherwise.
        CannotWriteError: as `atomic_output`.
    """
    kind = format_of(path)
    if not points:
        raise InvalidInputError("The chart has no model to show.")
    front = pareto_front(points)
    if kind == "html":
        drawing = _render(points, front, x, y, "svg")
        content = _page(drawing.decode(), points, front, x, y, title, source).encode()
    else:
        content = _render(points, front, x, y, kind, _Words(title, source))
    with atomic_output(path, force=force) as output:
        output.write(content)
    return Drawn(front, output.unchanged)


class _Words(NamedTuple):
    """What stands around a chart that is alone: a title, the source. The key of the front stands beside it."""

    title: str
    source: str


def _render(
    points: Sequence[Point], front: Sequence[Point], x: Axis, y: Axis, kind: str, words: _Words | None = None
) -> bytes:
    matplotlib = import_extra("matplotlib", "plot", "Drawing a chart")
    figures = import_extra("matplotlib.figure", "plot", "Drawing a chart")
    encoded = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = figures.Figure(figsize=(_WIDTH if words else _NARROW, _HEIGHT), dpi=_DPI)
        axes = figure.add_axes((0.07, 0.12, 0.56, 0.78) if words else (0.09, 0.1, 0.89, 0.87))
        _draw_others(axes, points, front)
        _label(axes, points, x, y)
        _draw_front(axes, points, front)
        if words:
            _draw_key(figure, front, x, y)
            figure.text(0.07, 0.95, words.title, fontsize=12, fontweight="bold", color=INK)
            figure.text(0.07, 0.02, words.source, fontsize=7, color="#555555")
        # Neither a date nor the version of a program.
        metadata: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(encoded, format=kind, metadata=metadata)
    return encoded.getvalue()


def _draw_others(axes: Any, points: Sequence[Point], front: Sequence[Point]) -> None:
    on_front = set(front)
    for number, point in enumerate(points):
        if point not in on_front:
            axes.plot(point.cost, point.worth, "o", ms=4, mfc="none", mec=GREY, mew=0.8, gid=f"model-{number}")
    # What is drawn later changes no limit, so that distances on the chart are known.
    axes.update_datalim([point[1:] for point in front])
    axes.autoscale_view()


def _draw_front(axes: Any, points: Sequence[Point], front: Sequence[Point]) -> None:
    axes.autoscale(False)
    costs, worths = [point.cost for point in front], [point.worth for point in front]
    axes.plot(costs, worths, "-", color=BLUE, lw=1.5, drawstyle="steps-post", zorder=3)
    numbers = {point: number for number, point in enumerate(points)}
    with_number = _apart(axes, _named(front))
    for point in front:
        place = with_number.get(point)
        size = 5 if place is None else 13
        edge = {"mec": "white", "mew": 1 if place is not None else 0.5}
        gid = f"model-{numbers[point]}"
        axes.plot(point.cost, point.worth, "o", ms=size, mfc=BLUE, zorder=4 if place is None else 5, gid=gid, **edge)
        if place is not None:
            centred = {"ha": "center", "va": "center_baseline"}
            axes.annotate(str(place), point[1:], fontsize=7, color="white", zorder=6, **centred)


def _apart(axes: Any, named: Sequence[tuple[int, Point]]) -> dict[Point, int]:
    """The models whose numbers fit on the chart without covering each other; the ends of the front come first."""
    kept: dict[Point, int] = {}
    places: list[tuple[float, float]] = []
    for number, point in [*named[:1], *named[-1:], *named[1:-1]]:
        across, up = axes.transData.transform(point[1:])
        if point not in kept and all(abs(across - a) > _APART or abs(up - u) > _APART for a, u in places):
            kept[point] = number
            places.append((across, up))
    return kept


def _named(front: Sequence[Point]) -> list[tuple[int, Point]]:
    """The models of the front that the key names, with their numbers: all, or evenly chosen ones with both ends."""
    if len(front) <= MOST_NAMED:
        chosen = list(front)
    else:
        step = (len(front) - 1) / (MOST_NAMED - 1)
        chosen = [front[round(number * step)] for number in range(MOST_NAMED)]
    return list(enumerate(chosen, 1))


def _label(axes: Any, points: Sequence[Point], x: Axis, y: Axis) -> None:
    ticker = import_extra("matplotlib.ticker", "plot", "Drawing a chart")
    costs = [point.cost for point in points]
    if min(costs) > 0 and max(costs) > _LOGARITHMIC_FROM * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    for axis, side in ((x, axes.xaxis), (y, axes.yaxis)):
        text = axis.text if axis.is_count else "{:g}".format
        side.set_major_formatter(ticker.FuncFormatter(lambda value, _position, text=text: text(value)))
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    axes.grid(visible=True, which="major", color="#e4e4e4", lw=0.6)
    axes.set_axisbelow(True)


def _draw_key(figure: Any, front: Sequence[Point], x: Axis, y: Axis) -> None:
    named = _named(front)
    line = min(0.035, 0.8 / len(named))
    left, top = 0.655, 0.9
    figure.text(left, top + 0.025, "On the front", fontsize=9, fontweight="bold", color=INK)
    figure.text(0.99, top + 0.025, f"{y.column}   {x.column}", fontsize=8, color=INK, ha="right")
    for place, point in named:
        height = top - line * (place - 1) - 0.015
        size = min(8.0, 250 * line)
        figure.text(left + 0.02, height, str(place), fontsize=size, color=BLUE, fontweight="bold", ha="right")
        figure.text(left + 0.028, height, _shortened(point.name), fontsize=size, color=INK)
        values = f"{y.text(point.worth)}   {x.text(point.cost)}"
        figure.text(0.99, height, values, fontsize=size, color=INK, ha="right")
    if len(named) < len(front):
        figure.text(left, top - line * len(named) - 0.02, f"{len(named)} of {len(front)} named", fontsize=7, color=INK)


def _shortened(name: str) -> str:
    return name if len(name) <= 38 else f"{name[:37]}…"


# ---------------------------------------------------------------- HTML

_STYLE = """\
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; }
h1 { font-size: clamp(1.2rem, 4vw, 1.8rem); }
svg { width: 100%; height: auto; }
svg g[id^=model-]:hover path, svg g[id^=model-]:hover use { stroke: #E69F00 !important; stroke-width: 3px !important; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
td.number, th.number { text-align: right; }
footer { color: #555; font-size: .85rem; }
"""


def _page(svg: str, points: Sequence[Point], front: Sequence[Point], x: Axis, y: Axis, title: str, source: str) -> str:
    """One page without scripts: the chart, and tables of the front and of all models."""
    drawing = svg[svg.index("<svg") :]

    def with_hint(start: re.Match[str]) -> str:
        point = points[int(start[1])]
        hint = f"{point.name}: {y.column} {y.text(point.worth)}, {x.column} {x.text(point.cost)}"
        return f"{start[0]}<title>{escape(hint)}</title>"

    drawing = re.sub(r'<g id="model-(\d+)">', with_hint, drawing)
    drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    by_worth = sorted(points, key=lambda point: -point.worth)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{drawing}\n"
        f"<h2>On the front: {len(front)} of {len(points)}</h2>\n{_table(front, x, y, numbered=True)}\n"
        f"<details>\n<summary>All {len(points)} models</summary>\n{_table(by_worth, x, y)}\n</details>\n"
        f"<footer><p>{escape(source)}</p></footer>\n</body>\n</html>\n"
    )


def _table(points: Sequence[Point], x: Axis, y: Axis, *, numbered: bool = False) -> str:
    numbers = {point: number for number, point in _named(points)} if numbered else {}
    first = '<th class="number">#</th>' if numbered else ""
    others = "".join(f'<th class="number">{escape(text)}</th>' for text in (y.column, x.column))
    rows = []
    for point in points:
        number = f'<td class="number">{numbers.get(point, "")}</td>' if numbered else ""
        values = "".join(f'<td class="number">{text}</td>' for text in (y.text(point.worth), x.text(point.cost)))
        rows.append(f"<tr>{number}<td>{escape(point.name)}</td>{values}</tr>")
    body = "\n".join(rows)
    head = f"<tr>{first}<th>model</th>{others}</tr>"
    return f'<div class="scroll"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
