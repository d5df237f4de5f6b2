"""Options of `zoo export-features`. As in `options`, annotations are not postponed."""

import math
from pathlib import Path
from typing import Annotated

import typer

from zoo.core.errors import UsageError

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE...]", help="Files, folders, patterns, .tar, .tar.gz and .zip archives; - reads a list of them."
    ),
]
FromFile = Annotated[
    str | None,
    typer.Option("--from-file", metavar="LIST", help="A list of inputs, one a line or split by NUL; - is stdin."),
]
Column = Annotated[
    str, typer.Option(metavar="NAME", help="LIST is a table, CSV or Parquet, and this column of it has the paths.")
]
RelativeTo = Annotated[
    Path | None,
    typer.Option(
        "--relative-to",
        metavar="DIR",
        readable=False,
        help="Name inputs by their paths from this folder, so that an export can go on where the folder has moved.",
    ),
]
Hash = Annotated[
    bool,
    typer.Option("--hash", help="Know inputs by their sha256, which the manifest gets, not by size and time."),
]
MinValid = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Skip images and tiles of which less than this share, 0 to 1, has data."),
]
BandChoice = Annotated[
    str,
    typer.Option("--bands", metavar="B,...", help="Bands to read, in this order: numbers from 1, or the file's names."),
]
Tile = Annotated[
    int | None, typer.Option(metavar="PX", help="Cut images into windows of this side, each an input of its own.")
]
Stride = Annotated[
    int | None, typer.Option(metavar="PX", help="From one window to the next, at most the tile; the tile if not given.")
]
NoResize = Annotated[bool, typer.Option("--no-resize", help="Take images in the size that they have.")]
Scale = Annotated[
    str,
    typer.Option(
        metavar="X|file",
        help="The number that counts as 1; if not given, the largest of the bit depth, 1 for floats. file: apply the "
        "scale and offset that a raster declares.",
    ),
]
Pages = Annotated[
    str,
    typer.Option(
        metavar="auto|bands|N",
        help="Which pages of a TIFF are read: page N, or all as bands of one image; auto: as bands where the file "
        "calls them channels, or says nothing and they are not three.",
    ),
]
Mean = Annotated[
    str,
    typer.Option(
        metavar="M,...", help="Instead of the weights' own: per channel, or one for all, on the scale 0 to 1."
    ),
]
Std = Annotated[str, typer.Option(metavar="S,...", help="Likewise.")]
NoData = Annotated[
    str,
    typer.Option(metavar="mean|zero|error", help="What stands where a raster has no data; error: it cannot be read."),
]
Axes = Annotated[
    str,
    typer.Option(
        metavar="auto|chw|hwc", help="Order of the axes of .npy and .npz arrays; auto: by the model's channels."
    ),
]
NpzKey = Annotated[str, typer.Option(metavar="NAME", help="Which array of .npz files that hold several.")]
FastDecode = Annotated[
    bool, typer.Option("--fast-decode", help="Decode JPEG at a reduced size: faster, and not the same numbers.")
]
Geo = Annotated[
    bool, typer.Option("--geo", help="Read every TIFF through rasterio, with or without a place on the ground.")
]
AllowVrt = Annotated[bool, typer.Option("--allow-vrt", help="Read virtual rasters, which name other local files.")]
Frames = Annotated[
    str,
    typer.Option(
        metavar="all|N", help="Which frame of DICOM files of several is read, from 1; all: as bands of one image."
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(metavar="N", help="Most pixels that are read at once, of three bands; 89478485 if not given."),
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda|mps", help="Where the model runs; cuda:1 for the second.")]
Precision = Annotated[
    str, typer.Option(metavar="float32|bfloat16|float16|auto", help="auto: bfloat16 where the device computes in it.")
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the model first; needs a C++ compiler on the CPU.")]
Exact = Annotated[
    bool,
    typer.Option("--exact", help="Compute the layers as they are, none joined: slower, the numbers of a plain loop."),
]
Workers = Annotated[
    int, typer.Option(metavar="N", help="Decode in N processes, which a damaged file cannot harm; 0: in threads.")
]
FailOnNonfinite = Annotated[
    bool, typer.Option("--fail-on-nonfinite", help="End with exit code 3 where features are NaN or infinite.")
]
Pool = Annotated[
    str,
    typer.Option(
        metavar="none|avg|max|cls|embedding",
        help="Write vectors instead of maps: per level the average, maximum or class token (cls), or one vector per "
        "image, the one that the classifier reads (embedding).",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(metavar="float32|float16|bfloat16", help="How features are stored, rounded to nearest even."),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="safetensors|npy|parquet|zarr",
        help="parquet takes pooled features only; zarr makes one array of all inputs per level.",
    ),
]
ImagesPerShard = Annotated[
    int | None, typer.Option(metavar="N", help="Inputs per shard; if not given, as many as make 64 MiB, at most 1024.")
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Images per forward pass.")]
OnError = Annotated[
    str, typer.Option(metavar="skip|stop", help="Whether an unreadable image is listed, or ends the run (exit code 4).")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Read images again that an earlier run could not read.")
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Know finished shards by their size, not by their checksums.")
]
Shard = Annotated[
    str,
    typer.Option(
        metavar="K/N|auto",
        help="Do the K-th of N parts, from 1; all write to one FOLDER. auto: as Slurm, torchrun or Kubernetes tell.",
    ),
]
Engine = Annotated[
    str, typer.Option(metavar="local|ray", help="ray: on the cluster that RAY_ADDRESS names, or one started here.")
]
Actors = Annotated[int, typer.Option(metavar="N", help="Models that run at once with --engine ray.")]
Replace = Annotated[
    bool, typer.Option("--force", help="Replace another export in FOLDER, and compute anew what is there of this one.")
]
Preview = Annotated[
    Path | None,
    typer.Option(
        metavar="PNG", readable=False, help="Paint the levels of the first 8 images, principal components as RGB."
    ),
]


def parse_scale(text: str) -> float | str | None:
    """`"10000"` as a number, `"file"` as itself; None where nothing was given. Raises UsageError for all else."""
    if text in ("", "file"):
        return text or None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"--scale takes a number above 0, or file, found {text!r}.", hint="For example: --scale 10000")
    return value


def parse_values(option: str, text: str, *, zero: bool = True) -> tuple[float, ...] | None:
    """`"0.5,0.4"` as numbers; None where nothing was given.

    Raises UsageError that names the option for what is no number, infinite, or 0 where `zero` is not allowed.
    """
    try:
        values = tuple(map(float, text.split(","))) if text else None
    except ValueError:
        values = (math.nan,)
    if values and not all(math.isfinite(value) and (zero or value) for value in values):
        raise UsageError(
            f"{option} takes numbers{'' if zero else ' other than 0'} with commas between them, found {text!r}.",
            hint="For example: 0.485,0.456,0.406",
        )
    return values
