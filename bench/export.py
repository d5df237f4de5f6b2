"""Speed and memory of `zoo export-features`.

    python bench/export.py [--model resnet50] [--images 256] [--runs 3] [--batch-size 32] [--workers 0] [--threads 2]
    python bench/export.py --images 64 --size 4000 3000
    python bench/export.py --runtimes [--models resnet50 efficientnet_b0 mobilenetv3_large_100] [--busy --threads 1]
    python bench/export.py --compile [--models convnext_atto resnet50]
    python bench/export.py --memory [--memory-model resnet10t] [--counts 1000 10000]

Speed: images per second against a plain script, the same layers behind a torch DataLoader, run as other libraries do:
with maps in the order in memory of the image. Both read the same folder of generated JPEGs (500x375 unless told
otherwise), prepare them in the same way, and give every map as a float32 numpy array; nothing is written. zoo's images
come as the command decodes and computes them (`export_job`). They run in turn in one process, and each ratio is that of
the medians. The same script with zoo's model as it is (`model`) is a third, and with timm's where timm is installed a
fourth.

Runtimes: the same for the embedding of each model, computed with torch, ONNX Runtime and OpenVINO, as far as they are
installed, against the plain script; first the model alone, on images that are ready, then with reading and decoding.
Each graph is also run in a bare loop of its runtime, without zoo, and the ratio of zoo's loop to that one is given.

Compiled: how much faster a model is with `--compile` than without, and with its weights as constants besides; one
process, batch by batch in turn.

Memory: the most that the command takes for 10,000 inputs (arrays of 32x32 pixels in one tar archive, as they are,
pooled features) against 1,000, each in a process of its own (VmHWM of Linux).
"""

import argparse
import io
import math
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import safetensors.torch
import torch
from PIL import Image, ImageFilter

import zoo
from zoo.core.export.engine import FeatureEngine
from zoo.core.export.job import Computing, export_job
from zoo.core.export.plan import FeatureStorage
from zoo.core.extras import has_package
from zoo.core.graphs.runtimes import RUNTIMES, Runner
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.preprocess import Preprocess
from zoo.models.layers import memory_order

LEVELS = (None, (0, 1, 2))
LOADER_WORKERS = 2
DIFFERENT = 16


def make_photographs(folder, count, size):
    """JPEGs of blurred noise, which take about as long to decode as photographs."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    width, height = size
    for number, path in enumerate(paths):
        if number >= DIFFERENT:
            path.write_bytes(paths[number % DIFFERENT].read_bytes())
            continue
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)).save(path, quality=90)
    return paths


def read(preprocess, path):
    with Image.open(path) as image:
        return preprocess.array(image.convert("RGB"))


class Photographs(torch.utils.data.Dataset):
    def __init__(self, paths, preprocess):
        self.paths, self.preprocess = paths, preprocess

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, position):
        return torch.from_numpy(read(self.preprocess, self.paths[position]))


def with_job(job, paths):
    """Yields the maps of each image, as a run of the command computes those of a shard."""
    with closing(job.decode(job.plan.inputs[: len(paths)])) as decoded:
        yield from job.compute(found.image for found in decoded)


@torch.inference_mode()
def with_loader(model, paths, preprocess, arguments):
    """The plain script."""
    loader = torch.utils.data.DataLoader(
        Photographs(paths, preprocess), batch_size=arguments.batch_size, num_workers=LOADER_WORKERS
    )
    for batch in loader:
        maps = [m.numpy() for m in model(batch)]
        yield from ([m[row] for m in maps] for row in range(len(batch)))


def as_elsewhere(model):
    """A model whose maps keep the order of the image: what zoo does on its own is not the plain script's."""

    def run(batch):
        with patch.object(memory_order, "LEAST_PIXELS", math.inf):
            return model(batch)

    return run


def images_per_second(features, expected, clock=time.perf_counter):
    start = clock()
    found = sum(1 for _ in features)
    assert found == expected
    return found / (clock() - start)


def largest_difference(found, expected):
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))


def timm_model(name, out_indices, weights):
    """timm's features with these weights; None where timm does not import or does not know the model."""
    try:
        import timm

        full = timm.create_model(name)
        full.load_state_dict(weights)
        model = timm.create_model(name, features_only=True, out_indices=out_indices)
        model.load_state_dict(full.state_dict(), strict=False)
        return model.eval()
    except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
        print(f"timm is left out: {error}")
        return None


def compare(name, out_indices, paths, arguments):
    full = zoo.create_model(name, seed=0)
    plain = zoo.create_model(name, features_only=True, out_indices=out_indices, seed=0).eval()
    preprocess = Preprocess.from_cfg(full.pretrained_cfg)
    computing = Computing(batch_size=arguments.batch_size, workers=arguments.workers)
    job = export_job(plain, preprocess, find_inputs(paths), computing=computing)
    theirs = timm_model(name, out_indices, full.state_dict())
    ways = {
        "zoo": lambda paths: with_job(job, paths),
        "plain": lambda paths: with_loader(as_elsewhere(plain), paths, preprocess, arguments),
        "model": lambda paths: with_loader(plain, paths, preprocess, arguments),
    }
    if theirs is not None:
        ways["timm"] = lambda paths: with_loader(theirs, paths, preprocess, arguments)
    first = {way: next(run(paths[:2])) for way, run in ways.items()}  # also the warm-up
    rates = {way: [] for way in ways}
    for turn in range(arguments.runs):
        for way in ways if turn % 2 else reversed(ways):
            rates[way].append(images_per_second(ways[way](paths), len(paths)))
    ours = statistics.median(rates["zoo"])
    title = f"{name} {'all levels' if out_indices is None else f'levels {out_indices}'}"
    print(f"{title}: zoo {ours:.1f} images/s")
    for way in [way for way in ways if way != "zoo"]:
        rate = statistics.median(rates[way])
        difference = largest_difference(first["zoo"], first[way])
        print(f"    {way:<6} {rate:.1f} images/s, ratio {ours / rate:.2f}, maps differ by {difference:.0e}")


def runtimes():
    """Runtime and precision of each way to compute that this machine has."""
    torch_alone = [("torch", "float32"), ("torch", "bfloat16")]
    graphs = [(name, precision) for name, one in RUNTIMES.items() for precision in one.precisions]
    return torch_alone + [(name, precision) for name, precision in graphs if has_package(name)]


def compare_runtimes(name, paths, arguments):
    """The embedding by each runtime: images per second of the model alone and of everything, and ratios."""
    model = zoo.create_model(name, num_classes=0, seed=0).eval()
    preprocess = Preprocess.from_cfg(model.pretrained_cfg)
    inputs = find_inputs(paths)
    runners: dict[tuple[str, str], Runner] = {}
    jobs = {}
    for runtime, precision in runtimes():
        with kept_runner(runners, runtime, precision):
            jobs[runtime, precision] = export_job(
                model,
                preprocess,
                inputs,
                computing=Computing(batch_size=arguments.batch_size, runtime=runtime, precision=precision),
                storage=FeatureStorage(pool="embedding"),
            )
    ready = [read(preprocess, path) for path in paths[:DIFFERENT]] * (4 * arguments.batch_size // DIFFERENT)
    plain = as_elsewhere(lambda batch: [model(batch)])
    alone = {way: lambda job=job: job.compute(ready) for way, job in jobs.items()}
    whole = {way: lambda job=job: with_job(job, paths) for way, job in jobs.items()}
    alone["plain", "float32"] = lambda: plain_loop(plain, ready, arguments.batch_size)
    whole["plain", "float32"] = lambda: with_loader(plain, paths, preprocess, arguments)
    expected = [vector for (vector,) in alone["plain", "float32"]()]
    for way, runner in runners.items():
        alone["bare", *way] = partial(bare_loop, runner, ready, arguments.batch_size)
    parts = [("model alone", alone, len(ready)), ("with decoding", whole, len(paths))]
    clock, unit = (time.process_time, "images/s of CPU time") if arguments.busy else (time.perf_counter, "images/s")
    for title, ways, count in parts[:1] if arguments.busy else parts:
        rates = {way: [] for way in ways}
        for run in ways.values():
            next(iter(run()))  # the warm-up
        for turn in range(arguments.runs):
            for way in ways if turn % 2 else reversed(ways):
                rates[way].append(images_per_second(ways[way](), count, clock))
        base = statistics.median(rates["plain", "float32"])
        print(f"{name}, {title}: plain script {base:.1f} {unit}", flush=True)
        for way in jobs:
            rate = statistics.median(rates[way])
            found = [maps[0] for maps in jobs[way].compute(ready[:DIFFERENT])]
            difference = largest_difference(found, expected[:DIFFERENT])
            line = f"    {' '.join(way):<20} {rate:7.1f} {unit}, ratio {rate / base:.2f}, differs by {difference:.0e}"
            if own := rates.get(("bare", *way)):
                line += f", of its runtime's bare loop {rate / statistics.median(own):.2f}"
            print(line)


@contextmanager
def kept_runner(runners, runtime, precision):
    """Keeps what runs the graph of a job that is made meanwhile."""
    if runtime not in RUNTIMES:
        yield
        return
    own = RUNTIMES[runtime]

    def keep(*options):
        runners[runtime, precision] = own.open(*options)
        return runners[runtime, precision]

    with patch.dict(RUNTIMES, {runtime: own._replace(open=keep)}):
        yield


def bare_loop(runner, images, batch_size):
    """The runtime alone: batches in its own order, and nothing is looked at."""
    for start in range(0, len(images), batch_size):
        (vectors,) = runner(np.stack(images[start : start + batch_size]))
        yield from vectors


@torch.inference_mode()
def plain_loop(model, images, batch_size):
    """The maps of images that are ready."""
    for start in range(0, len(images), batch_size):
        maps = [m.numpy() for m in model(torch.from_numpy(np.stack(images[start : start + batch_size])))]
        yield from ([m[row] for m in maps] for row in range(len(maps[0])))


@torch.inference_mode()
def compare_compiled(name, arguments):
    model = zoo.create_model(name, features_only=True, seed=0).eval()
    size = model.pretrained_cfg["input_size"]
    images = torch.randn(arguments.batch_size, *size).to(memory_format=torch.channels_last)
    engine = FeatureEngine(model, tuple(size))
    frozen = torch.compile(FeatureEngine(model, tuple(size))._compute, options={"freezing": True})
    ways = {
        "as it is": engine,
        "compiled": FeatureEngine(model, tuple(size), compile_model=True),
        "with constants": lambda batch: [m.contiguous() for m in frozen(batch)],  # as the engine gives maps
    }
    times = {way: [] for way in ways}
    for turn in range(arguments.runs + 1):
        for way, run in ways.items():
            start = time.perf_counter()
            run(images)
            if turn:  # the first compiles
                times[way].append(time.perf_counter() - start)
    usual, *others = (statistics.median(times[way]) for way in ways)
    ratios = ", ".join(f"{way} {usual / other:.2f}" for way, other in zip(list(ways)[1:], others, strict=True))
    print(f"{name}: {arguments.batch_size / usual:.1f} images/s, times as fast: {ratios}")


COMMAND = """
import sys
from zoo.cli.start import main

try:
    main()
finally:
    with open("/proc/self/status") as file:
        print(next(line.split()[1] for line in file if line.startswith("VmHWM")), file=sys.stderr)
"""


def make_archive(path, count):
    """A tar archive of arrays of 32x32 pixels and three bands."""
    random = np.random.default_rng(0)
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            np.save(array := io.BytesIO(), random.integers(0, 256, (32, 32, 3), np.uint8))
            member = tarfile.TarInfo(f"{number:06}.npy")
            member.size = array.tell()
            array.seek(0)
            archive.addfile(member, array)


def peak_mib(model, weights, count, folder):
    """Of a process that exports so many inputs."""
    archive = folder / f"{count}.tar"
    make_archive(archive, count)
    words = [model, archive, "--weights", weights, "--no-resize", "--pool", "avg", "-o", folder / str(count)]
    command = [sys.executable, "-P", "-c", COMMAND, "export-features", *map(str, words)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"images: {count}\n" in run.stdout
    return int(run.stderr.split()[-1]) / 1024


def compare_memory(model, counts, folder):
    weights = folder / "weights.safetensors"
    safetensors.torch.save_file(zoo.create_model(model, seed=0).state_dict(), weights)
    few, many = (peak_mib(model, weights, count, folder) for count in counts)
    print(f"{model}: {few:.0f} MiB for {counts[0]} inputs, {many:.0f} MiB for {counts[1]}, ratio {many / few:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=(500, 375), help="width and height of the JPEGs")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0, help="processes to decode in; 0: threads")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--runtimes", action="store_true", help="compare runtimes")
    parser.add_argument(
        "--busy", action="store_true", help="measure CPU time of the model alone, on a machine that others use too"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=("resnet50", "efficientnet_b0", "mobilenetv3_large_100"),
        help="for --runtimes and --compile",
    )
    parser.add_argument("--compile", action="store_true", help="compare compiled models with models as they are")
    parser.add_argument("--memory", action="store_true", help="compare memory instead of speed")
    parser.add_argument("--memory-model", default="resnet10t")
    parser.add_argument("--counts", type=int, nargs=2, default=(1000, 10_000), help="of inputs, for --memory")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory:
            compare_memory(arguments.memory_model, arguments.counts, Path(folder))
            return
        if arguments.compile:
            for name in arguments.models:
                compare_compiled(name, arguments)
            return
        paths = make_photographs(Path(folder), arguments.images, arguments.size)
        if arguments.runtimes:
            for name in arguments.models:
                compare_runtimes(name, paths, arguments)
            return
        for out_indices in LEVELS:
            compare(arguments.model, out_indices, paths, arguments)


if __name__ == "__main__":
    main()
