"""What zoo's weight jobs cost against the work that cannot be avoided, each ratio measured in one run.

    python bench/weights.py [--runs 5] [--folder /somewhere]

adapt-weights is compared with `cp` of the same file (87 MB and 1.2 GB), and with `cp` followed by a sync, as zoo
syncs what it wrote unless told otherwise (`--no-sync`); creating a pretrained model is compared with `import torch`.
Peak memory is the process's own.
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
    from zoo.core.atomic_output import atomic_output
    from zoo.core.safetensors_writer import write_safetensors
    from zoo.core.stored_tensor import DTYPE_BITS, StoredTensor

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


def compare(commands, runs, clean):
    """Median seconds and peak memory of each command, run in turn after one uncounted round."""
    results = {label: [] for label in commands}
    for turn in range(runs + 1):
        for label, command in commands.items():
            for path in clean:
                path.unlink(missing_ok=True)
            os.sync()
            result = run(command)
            if turn:
                results[label].append(result)
    return {
        label: (statistics.median(seconds for seconds, _ in pairs), max(peak for _, peak in pairs))
        for label, pairs in results.items()
    }


def bench_adapt(folder, name, dtype, runs):
    source, out = folder / "source.safetensors", folder / "out.safetensors"
    # In a process of its own: what this one has in memory would count as that of the commands it starts.
    subprocess.run([sys.executable, "-P", __file__, "--source", source, name, dtype], check=True)
    adapt = [*ZOO, "adapt-weights", name, "--weights", str(source), "--in-chans", "25", "--quiet", "-o", str(out)]
    silent = ["sh", "-c", 'exec "$@" >/dev/null', "sh"]
    results = compare(
        {
            "cp": ["cp", str(source), str(out)],
            "cp, then sync": ["sh", "-c", f"cp '{source}' '{out}' && sync '{out}'"],
            "zoo adapt-weights": [*silent, *adapt],
            "zoo ... --no-sync": [*silent, *adapt, "--no-sync"],
        },
        runs,
        [out],
    )
    report(f"{source.stat().st_size / 1e6:.0f} MB", results, "cp")
    source.unlink()
    out.unlink(missing_ok=True)


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
        [],
    )
    report("resnet34", results, "import torch")


def report(what, results, base):
    for label, (seconds, peak) in results.items():
        print(f"{what:<10} {label:<18} {seconds:7.3f} s  {seconds / results[base][0]:5.2f} x {base}  {peak:6.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the file system to measure; default: the temporary folder")
    parser.add_argument("--source", nargs=3, metavar=("FILE", "NAME", "DTYPE"), help="only write a random weight file")
    arguments = parser.parse_args()
    if arguments.source:
        write_source(*arguments.source)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        bench_adapt(folder, "resnet34", "F32", arguments.runs)
        bench_adapt(folder, "seresnextaa201d_32x8d", "F64", arguments.runs)
        bench_create(folder, arguments.runs)


if __name__ == "__main__":
    main()
