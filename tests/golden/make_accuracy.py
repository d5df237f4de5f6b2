"""Write core/architectures/accuracy.json from the tables of results that timm publishes with its sources.

The tables are in tests/golden/accuracy/, compressed as `gzip -9 -n` does it. For newer ones, put them there, set
SOURCE in core/architectures/accuracy.py to their commit, and run

    PYTHONPATH=tests python -P -m golden.make_accuracy
"""

from zoo.core.architectures.accuracy import ACCURACY_PATH, ACCURACY_SECTION
from zoo.core.architectures.line_table import render_line_table

from golden import published_results


def lines():
    """The lines of accuracy.json: `name.tag` -> entries as the fields of `Accuracy`."""
    reassessed = {_key(row): _percents(row) for row in published_results("results-imagenet-real")}
    found = {}
    for row in sorted(published_results("results-imagenet"), key=_key):
        full_name, *setting = key = _key(row)
        entry = [*setting, *_percents(row), *reassessed.get(key, (None, None))]
        found.setdefault(full_name, []).append(entry)
    return found


def _key(row):
    return row["model"], int(row["img_size"]), float(row["crop_pct"]), row["interpolation"]


def _percents(row):
    return float(row["top1"]), float(row["top5"])


if __name__ == "__main__":
    ACCURACY_PATH.write_text(render_line_table(ACCURACY_SECTION, lines()))
