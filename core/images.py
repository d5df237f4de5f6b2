"""Finding photographs on disk and decoding them without losing anything quietly. Pillow and numpy, no torch.

Files come from strangers: the formats are few, sizes are bounded, and whatever a decoder raises becomes one sentence
that names the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from zoo.core.errors import InvalidInputError, NotFoundError

Pixels = Image.Image | NDArray[np.float32]
"""A decoded image: 8-bit Pillow image (mode L or RGB), or float32 array (channels, height, width) in 0..1."""

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

MAX_PIXELS = 2**30 // 12
"""Above it an image counts as a decompression bomb: 89 megapixels, where Pillow begins to warn."""

_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_PNG_HEADER_LENGTH = 25  # signature 8, chunk length and type 8, width and height 8, then one byte of bit depth
_GREY_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


@dataclass(frozen=True, order=True)
class ImageInput:
    """One image to read. `id` names it in results: relative to the folder if one folder was given, else as given."""

    id: str
    path: Path

    @property
    def source(self) -> str:
        return self.path.as_posix()


def find_inputs(paths: Sequence[str | Path]) -> list[ImageInput]:
    """Images among files and folders (searched recursively), each once, sorted by id as text.

    In folders, files count by their extension; hidden files are passed over and links to folders are not followed. A
    file that is named itself counts whatever it is called.

    Raises:
        NotFoundError: a path does not exist, or there is no image at all.
        InvalidInputError: a path is neither a file nor a folder.
    """
    given = [Path(p) for p in paths]
    if len(given) == 1 and given[0].is_dir():
        found = {ImageInput(p.relative_to(given[0]).as_posix(), p) for p in _walk(given[0])}
    else:
        found = {ImageInput(p.as_posix(), p) for path in given for p in _expand(path)}
    if not found:
        where = ", ".join(p.as_posix() for p in given) or "no path"
        raise NotFoundError(
            f"No image was found in {where}.", hint=f"Images are files ending in {', '.join(EXTENSIONS)}."
        )
    return sorted(found)


def _expand(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return _walk(path)
    if path.is_file():
        return (path,)
    if not path.exists():
        raise NotFoundError(f"There is no file or folder {path.as_posix()!r}.", path=str(path))
    raise InvalidInputError(f"{path.as_posix()!r} is neither a file nor a folder.", path=str(path))


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InvalidInputError(f"The folder {error.filename!r} could not be read: {error.strerror}.") from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if not name.startswith(".") and name.lower().endswith(EXTENSIONS) and path.is_file():
                yield path


def read_image(path: str | Path, in_chans: int = 3) -> Pixels:
    """Decode one photograph, upright (EXIF orientation applied), as colour or as grey.

    8-bit images of any mode (palette, CMYK, with alpha) are converted as Pillow's `convert` does it, alpha dropped.
    16-bit grey keeps its precision: it comes as float32, divided by the largest value of its bit depth.

    Args:
        path: a file in one of FORMATS.
        in_chans: 3 for RGB, 1 for grey (ITU-R 601 luma).

    Returns:
        An 8-bit Pillow image, or float32 (in_chans, height, width) in 0..1.

    Raises:
        InvalidInputError: the file cannot be decoded, is not a single picture, has more pixels than MAX_PIXELS or a
            pixel type that would lose values; or `in_chans` is neither 1 nor 3.
    """
    if in_chans not in (1, 3):
        raise InvalidInputError(
            f"The model reads {in_chans} channels, a photograph has 3 (or 1 as grey).",
            hint="Choose weights for 3 channels, or for 1.",
            path=str(path),
        )
    try:
        with Path(path).open("rb") as file:
            header = file.read(_PNG_HEADER_LENGTH)
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                _refuse_oversized(image)
                _refuse_several(image)
                return _convert(image, _bits_per_channel(image, header), in_chans)
    except InvalidInputError as error:
        raise InvalidInputError(f"{os.fspath(path)}: {error.message}", hint=error.hint, path=str(path)) from None
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise InvalidInputError(f"{os.fspath(path)}: {_reason(error)}", path=str(path)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"not an image in a known format ({', '.join(FORMATS)})."
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more pixels than the limit of {MAX_PIXELS}."
    if isinstance(error, OSError) and error.strerror:
        return f"could not be read: {error.strerror}."
    return f"could not be decoded: {str(error).rstrip('.') or type(error).__name__}."


def _refuse_oversized(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InvalidInputError(f"{image.width}x{image.height} pixels, more than the limit of {MAX_PIXELS}.")


def _refuse_several(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    # A JPEG from a phone may carry a second picture (MPO); its first one is the photograph.
    if frames > 1 and image.format != "MPO":
        raise InvalidInputError(f"{frames} frames or pages, where one picture was expected.")


def _bits_per_channel(image: Image.Image, header: bytes) -> int:
    """As stored in the file: Pillow's mode does not tell, it opens 16-bit colour as 8-bit without a word."""
    if image.format == "PNG":
        return header[_PNG_HEADER_LENGTH - 1]
    if isinstance(image, TiffImageFile):
        bits: tuple[int, ...] = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))
        return max(bits)
    return 8


def _convert(image: Image.Image, bits: int, in_chans: int) -> Pixels:
    if bits <= 8:
        return ImageOps.exif_transpose(image).convert("L" if in_chans == 1 else "RGB")
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise InvalidInputError(f"{bits}-bit numbers of unknown range, where 8 or 16 bits were expected.")
    if image.mode not in _GREY_16_BIT:
        raise InvalidInputError(
            f"{bits} bits per channel, of which only 8 would be read.",
            hint="Save it with 8 bits per channel, or as 16-bit grey without alpha.",
        )
    inverted = isinstance(image, TiffImageFile) and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    grey = np.asarray(ImageOps.exif_transpose(image)).astype(np.float32) / np.float32(2**bits - 1)
    return np.broadcast_to(1 - grey if inverted else grey, (in_chans, *grey.shape))
