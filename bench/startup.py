"""How long `zoo --help`, `zoo list` and `zoo info` take against a hello-world Typer app of two commands.

    python bench/startup.py [--runs 15]

The runs are interleaved, so that a busy machine slows all of them alike; the ratio is that of the medians.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELLO = """\
import typer

app = typer.Typer()


@app.command()
def hello(name: str):
    print(f"Hello {name}")


@app.command()
def goodbye(name: str, formal: bool = False):
    print(f"Goodbye {name}")


if __name__ == "__main__":
    app()
"""

ZOO = [sys.executable, "-P", "-c", "from zoo.cli.start import main; main()"]


def seconds(command: list[str]) -> float:
    """Wall time of one run with stdout in a pipe."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - start


def measure(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Median wall seconds of each command."""
    times: dict[str, list[float]] = {label: [] for label in commands}
    for command in commands.values():
        seconds(command)  # not counted: writes bytecode, warms the page cache
    for _ in range(runs):
        for label, command in commands.items():
            times[label].append(seconds(command))
    return {label: statistics.median(values) for label, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder, "hello.py")
        hello.write_text(HELLO)
        medians = measure(
            {
                "hello world": [sys.executable, str(hello), "hello", "World"],
                "zoo --help": [*ZOO, "--help"],
                "zoo list": [*ZOO, "list"],
                "zoo info resnet34": [*ZOO, "info", "resnet34"],
            },
            runs,
        )
    for label, median in medians.items():
        print(f"{label:<18} {median * 1000:6.0f} ms  {median / medians['hello world']:5.2f} x hello world")


if __name__ == "__main__":
    main()
