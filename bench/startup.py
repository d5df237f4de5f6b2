"""How long commands that compute nothing take against a hello-world Typer app of two commands.

    python bench/startup.py [--runs 15]

The runs are interleaved, so that a busy machine slows all of them alike; the ratio is the median of those of the turns,
printed beside the limit that it is to keep. The file that is looked at is a ResNet-34 in single precision.
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

LIMITS = {"zoo list": 1.3, "zoo list --where": 1.3, "zoo identify FILE": 2.0}

ZOO = [sys.executable, "-P", "-c", "from zoo.cli.start import main; main()"]


def seconds(command: list[str]) -> float:
    """Wall time of one run with stdout in a pipe."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - start


def measure(commands: dict[str, list[str]], runs: int) -> dict[str, list[float]]:
    """Wall seconds of each command, turn by turn."""
    times: dict[str, list[float]] = {label: [] for label in commands}
    for command in commands.values():
        seconds(command)  # not counted: writes bytecode, warms the page cache
    for _ in range(runs):
        for label, command in commands.items():
            times[label].append(seconds(command))
    return times


def write_weights(path: Path) -> None:
    """A file with a ResNet-34 in it."""
    subprocess.run([*ZOO, "create", "resnet34", "--quiet", "-o", str(path)], stdout=subprocess.PIPE, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        hello, weights = Path(folder, "hello.py"), Path(folder, "resnet34.safetensors")
        hello.write_text(HELLO)
        write_weights(weights)
        times = measure(
            {
                "hello world": [sys.executable, str(hello), "hello", "World"],
                "zoo --help": [*ZOO, "--help"],
                "zoo list": [*ZOO, "list"],
                "zoo list --where": [*ZOO, "list", "--where", "params<30M and top1>80", "--sort", "-top1"],
                "zoo info NAME": [*ZOO, "info", "resnet34"],
                "zoo inspect FILE": [*ZOO, "inspect", str(weights)],
                "zoo identify FILE": [*ZOO, "identify", str(weights)],
                "zoo check NAME FILE": [*ZOO, "check", "resnet34", str(weights)],
            },
            runs,
        )
    for label, values in times.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(values, times["hello world"], strict=True))
        limit = f"limit {LIMITS[label]:.1f}" if label in LIMITS else ""
        print(f"{label:<20} {statistics.median(values) * 1000:6.0f} ms  {ratio:5.2f} x hello world  {limit}".rstrip())


if __name__ == "__main__":
    main()
