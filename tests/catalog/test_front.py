"""The front of models, and its chart: looked at by the libraries of each format."""

from __future__ import annotations

import html.parser
import io
import json
import random
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.catalog.chart import Axis, draw_chart
from zoo.core.catalog.front import Point, pareto_front
from zoo.core.errors import CannotWriteError, InvalidInputError, UsageError

X, Y = Axis("macs", "cost", is_count=True), Axis("top1", "worth", is_percent=True)
POINTS = [Point("small", 1e8, 60), Point("beaten", 2e8, 55), Point("<b>&middle", 3e8, 70.5), Point("large", 9e9, 80)]


def test_the_front_is_what_no_other_point_beats():
    generator = random.Random(0)
    points = [Point(f"m{i}", generator.randrange(30), generator.randrange(30)) for i in range(200)]

    def beats(a: Point, b: Point) -> bool:
        return a.cost <= b.cost and a.worth >= b.worth and (a.cost, a.worth) != (b.cost, b.worth)

    expected = {(p.cost, p.worth) for p in points if not any(beats(other, p) for other in points)}
    front = pareto_front(points)
    assert [(p.cost, p.worth) for p in front] == sorted(expected)
    assert pareto_front([]) == []


@pytest.mark.parametrize("ending", ["png", "svg", "html"])
def test_the_same_points_give_the_same_bytes(tmp_path: Path, ending: str):
    path = tmp_path / f"chart.{ending}"
    drawn = draw_chart(POINTS, path, x=X, y=Y, title="title", source="from")
    assert [point.name for point in drawn.front] == ["small", "<b>&middle", "large"]
    assert not drawn.unchanged
    assert draw_chart(POINTS, path, x=X, y=Y, title="title", source="from").unchanged
    with pytest.raises(CannotWriteError):
        draw_chart(POINTS[:2], path, x=X, y=Y)


def test_a_picture_shows_the_front_in_another_lightness_than_the_rest(tmp_path: Path):
    """So that it can be read in black and white."""
    path = tmp_path / "chart.png"
    draw_chart(POINTS, path, x=X, y=Y)
    image = Image.open(path)
    grey = np.asarray(image.convert("L"))
    colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    blue = (colours == (0, 0x72, 0xB2)).all(1)
    assert blue.sum() > 300
    assert abs(int(np.median(grey.reshape(-1)[blue])) - 0x8A) > 40  # the other markers are of this grey


def test_a_drawing_names_the_front_in_text(tmp_path: Path):
    path = tmp_path / "chart.svg"
    draw_chart(POINTS, path, x=X, y=Y, title="a < b")
    texts = [text for element in ElementTree.parse(path).iter() if (text := (element.text or "").strip())]
    assert {"small", "<b>&middle", "large", "a < b", "60.00   100M", "80.00   9G"} <= set(texts)
    assert "beaten" not in texts


class Page(html.parser.HTMLParser):
    """Tags, and what a browser would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.text = io.StringIO()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if value and name in ("src", "href", "data", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text.write(data)


def test_a_page_is_one_file_with_a_hint_for_each_model(tmp_path: Path):
    path = tmp_path / "chart.html"
    draw_chart(POINTS, path, x=X, y=Y, title="<i>title</i>", source="from")
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert not {"script", "link", "img", "iframe", "i", "b"} & set(page.tags)
    assert all(value.startswith("#") for value in page.loaded)
    assert not re.search(r"@import|url\((?!#)", text)
    hints = re.findall(r"<title>(.*?)</title>", text)
    assert sorted(hints[1:]) == [
        "&lt;b&gt;&amp;middle: top1 70.50, macs 300M",
        "beaten: top1 55.00, macs 200M",
        "large: top1 80.00, macs 9G",
        "small: top1 60.00, macs 100M",
    ]
    assert "On the front: 3 of 4" in page.text.getvalue()


def test_a_long_front_is_named_in_part(tmp_path: Path):
    points = [Point(f"m{i}", 10 + i, i) for i in range(100)]
    path = tmp_path / "chart.svg"
    draw_chart(points, path, x=Axis("x", "x"), y=Axis("y", "y"))
    text = path.read_text()
    assert "40 of 100 named" in text
    assert {"m0", "m99"} <= set(re.findall(r">(m\d+)<", text))


def test_what_cannot_be_drawn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="A chart is written as"):
        draw_chart(POINTS, tmp_path / "chart.pdf", x=X, y=Y)
    with pytest.raises(InvalidInputError, match="no model to show"):
        draw_chart([], tmp_path / "chart.png", x=X, y=Y)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InvalidInputError) as caught:
        draw_chart(POINTS, tmp_path / "chart.png", x=X, y=Y)
    assert "zoo-cli[plot]" in caught.value.hint
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the command


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return errors.run(app, words), *capsys.readouterr()


def test_the_command_prints_the_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "p.svg"
    words = ("list", "--where", "family=vgg", "--plot", str(path))
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    head, *front = out.splitlines()
    assert head == f"{path}: written, 8 models, {len(front)} on the front"
    names = [line.split("\t")[0] for line in front]
    # By results-imagenet.csv vgg19_bn is the best, and vgg11_bn better than vgg11, which costs as much.
    assert (names[0], names[-1]) == ("vgg11_bn", "vgg19_bn")
    code, out, err = run(capsys, *words, "--json")
    document = json.loads(out)
    assert (document["status"], document["models"]) == ("unchanged", 8)
    assert [model["name"] for model in document["front"]] == names
    assert "family=vgg" in path.read_text()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--plot", "p.gif"], 2, "A chart is written as"),
        (["--plot", "p.png", "--x", "name"], 2, "--x takes one column of numbers, found 'name'"),
        (["--plot", "p.png", "--y", "nothing"], 2, "--y takes names of columns"),
        (["--plot", "p.png", "--where", "top1=unknown"], 4, "macs and top1 are known of none"),
        (["--plot", "no/p.png", "--where", "family=vgg"], 6, "no"),
    ],
)
def test_the_command_refuses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    sentence: str,
):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, "list", *options)
    assert (found, out) == (code, "")
    assert sentence in err
    assert not list(tmp_path.iterdir())
