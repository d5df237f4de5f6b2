"""What zoo's weight jobs cost against the work that cannot be avoided, each ratio measured in one run.

    python bench/weights.py [--runs 9] [--folder /somewhere]

adapt-weights is compared with copying the same file as zoo does it: to a new name, then put in place (`cp`, `mv`), and
with `cp`, `sync`, `mv`, as zoo syncs what it wrote unless told otherwise (`--no-sync`). Both sides write to a new name:
to write over a file is cheaper, because its memory is warm. Creating a pretrained model is compared with importing
torch.

Commands take turns, and a ratio is the median over the turns. Beside it is that of the fastest runs: on a machine that
others use it is the steadier one. Peak memory is the process's own. A source that zoo has seen before is not hashed
again; `first time` has no memory of it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ZOO = [sys.executable, "-P", "-c", "from zoo.cli.start import main; main()"]


def write_source(path, name, dtype):
    """A file with the tensors of an architecture, random bytes in them."""
    import zoo
    from zoo.core.files.atomic_output import atomic_output
    from zoo.core.files.safetensors_writer import write_safetensors
    from zoo.core.files.stored_tensor import DTYPE_BITS, StoredTensor

    size = DTYPE_BITS[dtype] // 8
    state = zoo.create_model(name, device="meta").state_dict()
    noise = bytes(os.urandom(1 << 20)) * (size * max(t.numel() for t in state.values()) // (1 << 20) + 1)
    tensors = []
    for key, t in state.items():
        kind, width = (dtype, size) if t.is_floating_point() else ("I64", 8)
        tensors.append(StoredTensor(key, kind, tuple(t.shape), memoryview(noise)[: t.numel() * width]))
    with atomic_output(path, force=True) as file:
        write_safetensors(file, tensors, {})


def run(command):
    """Wall seconds and peak resident MiB of a command."""
    start = time.perf_counter()
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, command
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def compare(commands, runs, clean=()):
    """(Seconds of each turn, peak memory) of each command, run in turn after one uncounted round."""
    results = {label: [] for label in commands}
    for turn in range(runs + 1):
        # Who runs first changes from turn to turn: what was freed a moment ago is memory that costs nothing.
        order = list(commands)[:: 1 if turn % 2 else -1]
        for label in order:
            for path in clean:
                path.unlink(missing_ok=True)
            os.sync()
            result = run(commands[label])
            if turn:
                results[label].append(result)
    return {label: list(zip(*pairs, strict=True)) for label, pairs in results.items()}


def bench_adapt(folder, name, dtype, runs, limits):
    source, out = folder / "source.safetensors", folder / "out.safetensors"
    # In a process of its own: what this one has in memory would count as that of the commands it starts.
    subprocess.run([sys.executable, "-P", __file__, "--source", source, name, dtype], check=True)
    adapt = [*ZOO, "adapt-weights", name, "--weights", str(source), "--in-chans", "25", "--quiet", "-o", str(out)]
    silent = ["sh", "-c", 'exec "$@" >/dev/null', "sh"]
    forgetful = ["env", f"XDG_STATE_HOME={folder / 'nothing' / 'is' / 'kept'}", *adapt]
    (folder / "nothing").write_text("")
    copied = ["sh", "-c", 'cp "$0" "$1.new" && mv "$1.new" "$1"', str(source), str(out)]
    synced = ["sh", "-c", 'cp "$0" "$1.new" && sync "$1.new" && mv "$1.new" "$1"', str(source), str(out)]
    commands = {
        "cp, mv": copied,
        "cp, sync, mv": synced,
        "zoo --no-sync": [*silent, *adapt, "--no-sync"],
        "zoo": [*silent, *adapt],
        "zoo --no-sync, first time": [*silent, *forgetful, "--no-sync"],
    }
    results = compare(commands, runs, [out])
    what = f"{source.stat().st_size / 1e6:.0f} MB"
    for label, base in (
        ("cp, sync, mv", "cp, mv"),
        ("zoo --no-sync", "cp, mv"),
        ("zoo", "cp, mv"),
        ("zoo", "cp, sync, mv"),
        ("zoo --no-sync, first time", "cp, mv"),
    ):
        report(what, results, label, base, limits.get((label, base)))
    source.unlink()
    out.unlink(missing_ok=True)
    (folder / "nothing").unlink()


def bench_create(folder, runs):
    weights = folder / "resnet34.safetensors"
    subprocess.run([*ZOO, "create", "resnet34", "--quiet", "--force", "-o", str(weights)], check=True, stdout=-3)
    overlay = f"pretrained_cfg_overlay={{'file': {str(weights)!r}}}"
    create = f"import zoo; zoo.create_model('resnet34', pretrained=True, {overlay})"
    results = compare(
        {
            "import torch": [sys.executable, "-c", "import torch"],
            "create pretrained": [sys.executable, "-P", "-c", create],
        },
        runs,
    )
    report("resnet34", results, "create pretrained", "import torch")


def report(what, results, label, base, limit=None):
    (seconds, peaks), (base_seconds, _) = results[label], results[base]
    ratio = statistics.median(ours / theirs for ours, theirs in zip(seconds, base_seconds, strict=True))
    fastest = min(seconds) / min(base_seconds)
    allowed = f"limit {limit:4.2f}" if limit else ""
    print(
        f"{what:<9} {label:<26} {statistics.median(seconds):6.3f} s {ratio:5.2f} x {base:<12} (fastest runs"
        f" {fastest:5.2f}) {allowed:<10} {max(peaks):5.0f} MiB"
    )


SMALL_LIMITS = {("zoo --no-sync", "cp, mv"): 4.5, ("zoo", "cp, mv"): 4.5}
LARGE_LIMITS = {("zoo --no-sync", "cp, mv"): 1.0, ("zoo", "cp, sync, mv"): 1.15}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="on the file system to measure; default: the temporary folder")
    parser.add_argument("--source", nargs=3, metavar=("FILE", "NAME", "DTYPE"), help="only write a random weight file")
    arguments = parser.parse_args()
    if arguments.source:
        write_source(*arguments.source)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        bench_adapt(folder, "resnet34", "F32", arguments.runs, SMALL_LIMITS)
        bench_adapt(folder, "seresnextaa201d_32x8d", "F64", arguments.runs, LARGE_LIMITS)
        bench_create(folder, arguments.runs)


if __name__ == "__main__":
    main()
