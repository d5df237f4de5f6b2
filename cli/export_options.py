"""Options of `zoo export-features`. As in `options`, the evaluation of annotations is not postponed."""

import math
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.help_sections import COMPUTING, IMAGES, INPUT, MODEL, OUTPUT
from zoo.cli.options import KEY_HELP, SOURCE_SIZE_HELP, WEIGHTS_HELP
from zoo.core.errors import UsageError

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE...]",
        help="Files, folders, patterns, and .tar, .tar.gz or .zip archives; - reads a list of them from stdin.",
    ),
]
FromFile = Annotated[
    str | None,
    typer.Option(
        "--from-file",
        metavar="LIST",
        rich_help_panel=INPUT,
        help="Read the inputs from this list, one per line or separated by NUL; - is stdin.",
    ),
]
EvaluatedImages = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FOLDER|TABLE]",
        help="A folder with one folder for each class, an archive of such, or a table of paths and labels.",
    ),
]
LabelColumn = Annotated[
    str,
    typer.Option(metavar="NAME", rich_help_panel=INPUT, help="Take the labels of a table from this column."),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        readable=False,
        rich_help_panel=INPUT,
        help="Name the model's classes, one a line in the order of its outputs; labels are these names.",
    ),
]
Column = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=INPUT,
        help="Treat LIST as a table, CSV or Parquet, and take the paths from this column.",
    ),
]
RelativeTo = Annotated[
    Path | None,
    typer.Option(
        "--relative-to",
        metavar="DIR",
        readable=False,
        rich_help_panel=INPUT,
        help="Name inputs by their paths relative to this folder. An export can then continue after the folder has "
        "moved.",
    ),
]
Hash = Annotated[
    bool,
    typer.Option(
        "--hash",
        rich_help_panel=INPUT,
        help="Recognise inputs by their sha256 instead of their size and time, and write it to the manifest.",
    ),
]
OnError = Annotated[
    str,
    typer.Option(
        metavar="skip|stop",
        rich_help_panel=INPUT,
        help="Choose what happens to an image that cannot be read: skip lists it and continues, stop ends the run with "
        "exit code 4.",
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", rich_help_panel=INPUT, help="Read images again that an earlier run could not read."),
]
BandChoice = Annotated[
    str,
    typer.Option(
        "--bands",
        metavar="B,...",
        rich_help_panel=IMAGES,
        help="Read these bands, in this order: numbers from 1, or the file's own names.",
    ),
]
Scale = Annotated[
    str,
    typer.Option(
        metavar="X|file",
        rich_help_panel=IMAGES,
        help="Divide the numbers of an image by X. By default X is the largest number of the bit depth, and 1 for "
        "floating point. file applies the scale and offset that a raster declares.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        metavar="PX",
        rich_help_panel=IMAGES,
        help="Cut images into square windows with sides of PX pixels. Each window is an input of its own.",
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        metavar="PX",
        rich_help_panel=IMAGES,
        help="Place the windows of --tile this many pixels apart, at most the tile's side. By default it is the "
        "tile's side.",
    ),
]
NoResize = Annotated[bool, typer.Option("--no-resize", rich_help_panel=IMAGES, help="Keep images in their own size.")]
Mean = Annotated[
    str,
    typer.Option(
        metavar="M,...",
        rich_help_panel=IMAGES,
        help="Subtract these means instead of those of the weights: one per channel, or one for all, on the scale from "
        "0 to 1.",
    ),
]
Std = Annotated[
    str,
    typer.Option(
        metavar="S,...",
        rich_help_panel=IMAGES,
        help="Divide by these standard deviations instead of those of the weights: one per channel, or one for all, on "
        "the scale from 0 to 1.",
    ),
]
NoData = Annotated[
    str,
    typer.Option(
        metavar="mean|zero|error",
        rich_help_panel=IMAGES,
        help="Fill pixels without data with the mean or with zero, or treat an image that has such pixels as an error.",
    ),
]
MinValid = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        rich_help_panel=IMAGES,
        help="Skip images and tiles in which less than this share, 0 to 1, has data.",
    ),
]
Pages = Annotated[
    str,
    typer.Option(
        metavar="auto|bands|N",
        rich_help_panel=IMAGES,
        help="Choose the pages of a TIFF: N reads one page, bands reads all pages as bands of one image. auto reads "
        "pages as bands if the file calls them channels, or if it says nothing and there are not three of them.",
    ),
]
Axes = Annotated[
    str,
    typer.Option(
        metavar="auto|chw|hwc",
        rich_help_panel=IMAGES,
        help="State the order of axes in .npy and .npz arrays; auto decides by the model's number of channels.",
    ),
]
NpzKey = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=IMAGES,
        help="Read the array of this name from .npz files that hold several.",
    ),
]
Frames = Annotated[
    str,
    typer.Option(
        metavar="all|N",
        rich_help_panel=IMAGES,
        help="Choose the frame of DICOM files that hold several, counted from 1; all reads them as bands of one image.",
    ),
]
Geo = Annotated[
    bool,
    typer.Option(
        "--geo", rich_help_panel=IMAGES, help="Read every TIFF through rasterio, whether it is georeferenced or not."
    ),
]
AllowVrt = Annotated[
    bool,
    typer.Option(
        "--allow-vrt", rich_help_panel=IMAGES, help="Also read virtual rasters, which name other local files."
    ),
]
FastDecode = Annotated[
    bool,
    typer.Option(
        "--fast-decode",
        rich_help_panel=IMAGES,
        help="Decode JPEG at a reduced size. This is faster and gives other numbers.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=IMAGES,
        help="Read at most N pixels of three bands at once; by default 89478485.",
    ),
]
# The same options as in other commands, but here they concern the model, not the input.
ModelWeights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", readable=False, rich_help_panel=MODEL, help=WEIGHTS_HELP),
]
ModelKey = Annotated[str, typer.Option("--key", metavar="PATH", rich_help_panel=MODEL, help=KEY_HELP)]
ModelSourceSize = Annotated[
    str, typer.Option("--source-size", metavar="S|H,W", rich_help_panel=MODEL, help=SOURCE_SIZE_HELP)
]
BatchSize = Annotated[
    int, typer.Option(metavar="N", rich_help_panel=COMPUTING, help="Compute N images in one forward pass.")
]
Device = Annotated[
    str,
    typer.Option(
        metavar="cpu|cuda|mps",
        rich_help_panel=COMPUTING,
        help="Run the model on this device; cuda:1 is the second GPU.",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="cpu|cuda|mps",
        rich_help_panel=COMPUTING,
        help="Run the model on this device; cuda:1 is the second GPU. cuda:all, or a list such as cuda:0,cuda:2, "
        "divides the shards among several GPUs, with one process each.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="float32|bfloat16|float16|auto",
        rich_help_panel=COMPUTING,
        help="Compute in this precision; auto takes bfloat16 if the device computes in it.",
    ),
]
Runtime = Annotated[
    str,
    typer.Option(
        metavar="torch|onnxruntime|openvino|auto",
        rich_help_panel=COMPUTING,
        help="Run the model in this program. All but torch run it as a graph, which is written and verified once. auto "
        "takes one that is installed if there are 256 images or more.",
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        metavar="N",
        rich_help_panel=COMPUTING,
        help="Decode images in N processes. A file that crashes its decoder then costs only its own image. 0 decodes "
        "in threads.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        rich_help_panel=COMPUTING,
        help="Compile the model first, which pays for thousands of images. Kernels are kept for the next run. On the "
        "CPU this needs a C++ compiler.",
    ),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        rich_help_panel=COMPUTING,
        help="Compute every layer as it is, without folding norms and scales. This is slower and gives the numbers of "
        "a plain loop.",
    ),
]
Shard = Annotated[
    str,
    typer.Option(
        metavar="K/N|auto",
        rich_help_panel=COMPUTING,
        help="Compute part K of N, counted from 1. All parts write to one FOLDER. auto takes K and N from Slurm, "
        "torchrun or Kubernetes.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        rich_help_panel=COMPUTING,
        help="Compute in this process, or on Ray: on the cluster that RAY_ADDRESS names, or on one started here.",
    ),
]
Actors = Annotated[
    int, typer.Option(metavar="N", rich_help_panel=COMPUTING, help="Run N models at once with --engine ray.")
]
Pool = Annotated[
    str,
    typer.Option(
        metavar="none|avg|max|cls|embedding|logits",
        rich_help_panel=OUTPUT,
        help="Write vectors instead of feature maps. avg, max and cls give one vector per level: the average, the "
        "maximum or the class token. embedding gives one vector per image: the one that the classifier reads. logits "
        "gives the scores of its classes.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="safetensors|npy|parquet|zarr",
        rich_help_panel=OUTPUT,
        help="Write features in this format. parquet takes pooled features only; zarr makes one array of all inputs "
        "per level.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="float32|float16|bfloat16",
        rich_help_panel=OUTPUT,
        help="Store features in this dtype, rounded to nearest even.",
    ),
]
ImagesPerShard = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=OUTPUT,
        help="Put N inputs into a shard. By default it is as many as make 64 MiB, at most 1024.",
    ),
]
Preview = Annotated[
    Path | None,
    typer.Option(
        metavar="PNG",
        readable=False,
        rich_help_panel=OUTPUT,
        help="Paint the levels of the first 8 images into this file, with principal components as RGB.",
    ),
]
FailOnNonfinite = Annotated[
    bool,
    typer.Option(
        "--fail-on-nonfinite",
        rich_help_panel=OUTPUT,
        help="End with exit code 3 if features are NaN or infinite.",
    ),
]
NoVerify = Annotated[
    bool,
    typer.Option(
        "--no-verify",
        rich_help_panel=OUTPUT,
        help="Recognise finished shards by their size instead of their checksums.",
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--force",
        rich_help_panel=OUTPUT,
        help="Replace another export in FOLDER, and compute the finished shards of this one again.",
    ),
]


def parse_scale(text: str) -> float | str | None:
    """Parse `"10000"` as a number, `"file"` as itself and an empty text as None; else raise UsageError."""
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
    """Parse `"0.5,0.4"` as numbers; None for an empty text.

    Raises UsageError that names the option for anything but finite numbers, and for 0 unless `zero` is allowed.
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
