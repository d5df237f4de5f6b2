"""Images per second of zoo's decoding and engine against a plain script: the same model behind a torch DataLoader.

    python bench/export.py [--model resnet50] [--images 256] [--runs 3] [--batch-size 32] [--workers 0] [--threads 2]

Both read the same folder of generated JPEGs (500x375), prepare them in the same way, and give every map as a float32
numpy array; nothing is written. They run in turn in one process, and each ratio is that of the medians. Where timm is
installed its model is a third, behind the same DataLoader.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

import zoo
from zoo.core.export.batches import compute_in_order
from zoo.core.export.decode_pool import decode_ahead
from zoo.core.export.engine import FeatureEngine
from zoo.core.preprocess import Preprocess

LEVELS = (None, (0, 1, 2))
LOADER_WORKERS = 2


def make_photographs(folder, count):
    """JPEGs of blurred noise, which take about as long to decode as photographs."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for path in paths:
        pixels = random.integers(0, 256, (375, 500, 3), np.uint8)
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


def with_engine(engine, paths, preprocess, arguments):
    """Yields the maps of each image."""
    decode = partial(read, preprocess)
    ahead = 2 * arguments.batch_size
    with closing(decode_ahead(paths, decode, workers=arguments.workers, ahead=ahead)) as decoded:
        for features in compute_in_order(decoded, engine.per_image, arguments.batch_size):
            yield features.maps


@torch.inference_mode()
def with_loader(model, paths, preprocess, arguments):
    """The plain script."""
    loader = torch.utils.data.DataLoader(
        Photographs(paths, preprocess), batch_size=arguments.batch_size, num_workers=LOADER_WORKERS
    )
    for batch in loader:
        maps = [m.numpy() for m in model(batch)]
        yield from ([m[row] for m in maps] for row in range(len(batch)))


def images_per_second(features, expected):
    start = time.perf_counter()
    found = sum(1 for _ in features)
    assert found == expected
    return found / (time.perf_counter() - start)


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
    engine = FeatureEngine(plain, (preprocess.in_chans, *preprocess.size))
    theirs = timm_model(name, out_indices, full.state_dict())
    ways = {
        "zoo": lambda paths: with_engine(engine, paths, preprocess, arguments),
        "plain": lambda paths: with_loader(plain, paths, preprocess, arguments),
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
    print(f"{title}: zoo {ours:.1f} images/s, {engine.folded_norms} norms folded")
    for way in rates.keys() - {"zoo"}:
        rate = statistics.median(rates[way])
        difference = largest_difference(first["zoo"], first[way])
        print(f"    {way:<6} {rate:.1f} images/s, ratio {ours / rate:.2f}, maps differ by {difference:.0e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0, help="processes to decode in; 0: threads")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photographs(Path(folder), arguments.images)
        for out_indices in LEVELS:
            compare(arguments.model, out_indices, paths, arguments)


if __name__ == "__main__":
    main()
