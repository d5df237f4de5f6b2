"""Read numpy arrays: .npy by windows, without loading the rest, and .npz. No value in a header is trusted."""

from __future__ import annotations

import math
import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.images.inputs.image_input import Window
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import RasterFile

_MAX_HEADER = 10_000  # characters, numpy's own default
_MAX_MEMBERS = 10_000
_NAMES_TOLD = 8
_SUFFIX = ".npy"


class StoredArray:
    """An array in a file, read in parts, not memory-mapped: a file that shrinks under a mapping kills the process.

    Args:
        file: open while it is read.
        start: position of the array in the file, in bytes.
        shape, dtype: of the array.
        fortran: whether the first axis varies fastest.
    """

    def __init__(
        self, file: BinaryIO, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, fortran: bool
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._file = file
        self._start = start
        self._fortran = fortran

    def __getitem__(self, part: tuple[slice, ...]) -> NDArray[Any]:
        """Read a part: a slice with start and stop per axis. Raises InvalidInputError if the file is cut short."""
        if self._fortran:
            return self._read(self.shape[::-1], part[::-1]).T
        return self._read(self.shape, part)

    def _read(self, shape: tuple[int, ...], part: tuple[slice, ...]) -> NDArray[Any]:
        values = np.empty([cut.stop - cut.start for cut in part], self.dtype)
        # One contiguous piece: the last axes that are read whole, and the axis before them.
        axis = len(shape) - 1
        while axis and values.shape[axis] == shape[axis]:
            axis -= 1
        steps = [math.prod(shape[i + 1 :]) for i in range(axis + 1)]
        for index in np.ndindex(*values.shape[:axis]):
            place = sum((cut.start + i) * step for cut, i, step in zip(part, (*index, 0), steps, strict=False))
            self._fill(memoryview(values[index].reshape(-1).view("u1").data), place * self.dtype.itemsize)
        return values

    def _fill(self, view: memoryview, position: int) -> None:
        self._file.seek(self._start + position)
        while view:
            count = self._file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise InvalidInputError("the file became shorter while it was being read.")
            view = view[count:]


class ArrayRaster(RasterFile):
    """An array with two axes, or with three axes, one for the bands."""

    def __init__(self, array: NDArray[Any] | StoredArray, options: ReadOptions) -> None:
        super().__init__(options)
        self._white = white_of(array.dtype)
        self._array = array
        self._axes = _bands_height_width(array.shape, options)
        self.num_bands, self.height, self.width = (1 if axis is None else array.shape[axis] for axis in self._axes)
        if 0 in array.shape:
            options.check_size(self.width, self.height, self.num_bands)

    def _decode(self, window: Window) -> Raster:
        left, top, width, height = window
        band, row, column = self._axes
        cuts = {row: slice(top, top + height), column: slice(left, left + width)}
        part = self._array[tuple(cuts.get(axis, slice(0, side)) for axis, side in enumerate(self._array.shape))]
        pixels = part[None] if band is None else part.transpose(band, row, column)
        if pixels.dtype.kind == "b":
            pixels = pixels.view(np.uint8)
        return Raster(pixels=np.array(pixels, pixels.dtype.newbyteorder("="), order="C"), white=self._white)


def white_of(dtype: np.dtype[Any]) -> float:
    """The number that counts as 1.0: the largest integer, or 1.0 for floating point and booleans."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0


def open_npy(file: BinaryIO, options: ReadOptions) -> ArrayRaster:
    """Open an .npy file, to read windows without the rest.

    Raises:
        InvalidInputError: it is not a numeric image, or the file ends early.
    """
    shape, fortran, dtype = _read_header(file)
    start = file.tell()
    needed = math.prod(shape) * dtype.itemsize
    if file.seek(0, 2) - start < needed:
        raise InvalidInputError(
            f"an array of shape {shape} and type {dtype} needs {needed} bytes: the file is truncated."
        )
    return ArrayRaster(StoredArray(file, start, shape, dtype, fortran=fortran), options)


def open_npz(file: BinaryIO, options: ReadOptions) -> ArrayRaster:
    """Open the array of an .npz file that `options.npz_key` names, or its only one; it is read whole.

    Raises:
        InvalidInputError: no such array, several without a key, more pixels than the limit.
    """
    with zipfile.ZipFile(file) as archive:
        member = _choose([info.filename for info in archive.infolist()], options.npz_key)
        with archive.open(member) as stream:
            shape, fortran, dtype = _read_header(stream)
            _check_size(shape, options)
            needed = math.prod(shape) * dtype.itemsize
            data = stream.read(needed)
    if len(data) < needed:
        raise InvalidInputError(f"the array {member!r} of shape {shape} ends early.")
    return ArrayRaster(np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C"), options)


def _choose(members: list[str], key: str) -> str:
    names = [name.removesuffix(_SUFFIX) for name in members if name.endswith(_SUFFIX)]
    told = ", ".join(names[:_NAMES_TOLD]) + (", ..." if len(names) > _NAMES_TOLD else "")
    if not names or len(members) > _MAX_MEMBERS:
        raise InvalidInputError(f"a zip archive with {len(names)} arrays in {len(members)} files, not an .npz image.")
    if key and key not in names:
        raise InvalidInputError(f"no array {key!r}, there is {told}.", hint=f"Name one: --npz-key {names[0]}")
    if not key and len(names) > 1:
        raise InvalidInputError(f"{len(names)} arrays ({told}).", hint=f"Name one: --npz-key {names[0]}")
    return (key or names[0]) + _SUFFIX


def _read_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis varies fastest, and dtype; nothing is ever unpickled."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)
    else:
        raise InvalidInputError(f"an .npy file of version {version}, which is for arrays with named fields.")
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InvalidInputError(f"an array of type {dtype}, where integers or floating point numbers were expected.")
    if len(shape) not in (2, 3) or any(side < 0 for side in shape):
        raise InvalidInputError(f"an array of shape {shape}, where an image has 2 axes, or 3 with the bands.")
    return shape, fortran, dtype


def _check_size(shape: tuple[int, ...], options: ReadOptions) -> None:
    """Check the limit for an array with unknown axes: it applies to width times height, and to all axes together."""
    bands = min(shape) if len(shape) == 3 else 1
    options.check_size(math.prod(shape) // max(bands, 1), 1, bands)


def _bands_height_width(shape: tuple[int, ...], options: ReadOptions) -> tuple[int | None, int, int]:
    """The axes of bands (None if there is none), rows and columns.

    Raises:
        InvalidInputError: nothing shows which axis is the bands.
    """
    if len(shape) == 2:
        return None, 0, 1
    axes, expected = options.axes, options.expected_bands
    if axes == "auto":
        fits = [name for name, count in (("chw", shape[0]), ("hwc", shape[2])) if count == expected]
        if len(fits) != 1:
            reads = "no number of bands is given" if expected is None else f"the model reads {expected} bands"
            raise InvalidInputError(
                f"an array of shape {shape}: {reads}, so that either end may count the bands."
                if len(fits) == 2 or expected is None
                else f"an array of shape {shape}: neither end has the {expected} bands that the model reads.",
                hint="Say which axis counts the bands: --axes chw or --axes hwc"
                + ("." if fits or expected is None else ", and choose bands with --bands."),
            )
        axes = fits[0]
    return (0, 1, 2) if axes == "chw" else (2, 0, 1)
