"""Read DICOM through pydicom: values after the modality's rescaling, with the brightness direction of a viewer.

Windowing (VOI) only affects display and is not applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.extras import import_extra
from zoo.core.images.rasters.decoding_memory import check_memory, check_whole_size
from zoo.core.images.rasters.dicom_pixels import PixelData
from zoo.core.images.rasters.dicom_start import PREAMBLE
from zoo.core.images.rasters.file_parts import FileParts
from zoo.core.images.rasters.library_warnings import ignore_warnings, tell_once
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.raster import Raster
from zoo.core.images.rasters.raster_file import WholeRasterFile

_DEFLATED = "1.2.840.10008.1.2.1.99"
_META_GROUP = 2
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_MOST_FRAMES = 1 << 20
_MOST_ELEMENTS = 1 << 16
_UNWINDOWED = "Images of DICOM files carry display windows (WindowCenter, WindowWidth), which are not applied."


def _before_pixels() -> Callable[[int, str | None, int], bool]:
    """A function that tells pydicom where to stop; it takes microseconds per element."""
    seen = 0

    def at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal seen
        seen += 1
        if seen > _MOST_ELEMENTS:
            raise InvalidInputError(f"a DICOM file of more than {_MOST_ELEMENTS} elements before its pixels.")
        return tag in _PIXELS

    return at_pixels


class Dicom(WholeRasterFile):
    """Grey or colour of one frame, or of all frames as bands (DICOM PS3.3 C.7.6.3, C.11.1)."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        pydicom = self._pydicom = import_extra("pydicom", "dicom", "Reading DICOM")
        # pydicom warns about every deviation from the standard; the values that matter here are checked below.
        ignore_warnings(r"pydicom|zoo\.core\.images\.rasters\.dicom", UserWarning)
        self._check_transfer_syntax(file)
        # pydicom asks a buffered file for its name, which an archive member lacks.
        bare = FileParts(file, [(0, file.seek(0, 2))])
        header = self._header = pydicom.filereader.read_partial(bare, stop_when=_before_pixels(), force=True)
        self.height, self.width = self._whole_number("Rows"), self._whole_number("Columns")
        self._samples = self._whole_number("SamplesPerPixel")
        self._bits = self._whole_number("BitsStored", self._whole_number("BitsAllocated"))
        self._signed = self._whole_number("PixelRepresentation", 0) == 1
        self._photometric = str(header.get("PhotometricInterpretation", "") or "")
        self._frames = self._chosen_frames()
        self.num_bands = self._samples * len(self._frames)
        expected = {1: _GREY, 3: _COLOUR}.get(self._samples, ())
        if self._photometric not in expected:
            raise InvalidInputError(f"{self._samples} samples of {self._photometric}, where grey or RGB was expected.")
        if "ModalityLUTSequence" in header:
            raise InvalidInputError("a modality lookup table, where rescale slope and intercept were expected.")
        if not 1 <= self._bits <= 32:
            raise InvalidInputError(f"{self._bits} bits per sample, where 1 to 32 were expected.")
        check_whole_size(self.width, self.height, self.num_bands, options)
        pixels = self.width * self.height
        self._pixels = PixelData(pydicom, bare, header)
        check_memory(file, pixels * (self._samples * 24 + self.num_bands * 8), pixels, options)
        if header.get("WindowCenter") is not None or "VOILUTSequence" in header:
            tell_once(_UNWINDOWED)

    def _whole_number(self, name: str, default: int | None = None) -> int:
        """An integer from the header; an empty value counts as missing."""
        try:
            value = self._header.get(name)
            if value is None or value == "":
                if default is None:
                    raise InvalidInputError(f"a DICOM file without {name}.")
                return default
            return int(value)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"a DICOM file whose {name} is not a whole number.") from error

    def _chosen_frames(self) -> range:
        total = max(1, self._whole_number("NumberOfFrames", 1))
        if total > _MOST_FRAMES:
            raise InvalidInputError(f"{total} frames, more than the limit of {_MOST_FRAMES}.")
        asked = self.options.frames
        if total > 1:
            self.decided = {"frames": total} if asked == "all" else {"frame": int(asked or 1), "frames": total}
        if asked == "all":
            return range(total)
        if not asked and total > 1:
            raise InvalidInputError(
                f"{total} frames or pages, where one picture was expected.",
                hint="Choose one (--frames 1), or read all as bands of one image (--frames all).",
            )
        number = int(asked or 1)
        if number > total:
            raise InvalidInputError(f"no frame {number}: it has {total}.", hint="Frames are counted from 1.")
        return range(number - 1, number)

    def _check_transfer_syntax(self, file: BinaryIO) -> None:
        """Check before pydicom reads more: it would inflate a deflated file to any size, and then lack a decoder."""
        file.seek(0)
        start = file.read(PREAMBLE)
        file.seek(PREAMBLE if start.endswith(b"DICM") else 0)
        meta = self._pydicom.filereader.read_dataset(
            file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != _META_GROUP
        )
        syntax = self._pydicom.uid.UID(meta.get("TransferSyntaxUID", "") or "")
        if not syntax:
            return  # without a syntax, pixels are stored uncompressed
        if syntax == _DEFLATED:
            raise InvalidInputError("a deflated DICOM file, which is not read.")
        if not syntax.is_compressed:
            return
        try:
            decoder = self._pydicom.pixels.get_decoder(syntax)
        except NotImplementedError:
            raise InvalidInputError(f"DICOM pixels in {syntax.name}, which is not read.") from None
        if not decoder.is_available:
            needs = ", or ".join(decoder.missing_dependencies)
            raise InvalidInputError(
                f"DICOM pixels in {syntax.name}, for which a decoder is not installed ({needs}).",
                hint="Install one: pip install 'zoo-cli[dicom]' pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg",
            )

    def _decode_whole(self) -> Raster:
        rasters = [self._decode_frame(number) for number in self._frames]
        if len(rasters) == 1:
            return rasters[0]
        frames = [np.asarray(raster.pixels) for raster in rasters]
        masks = [
            np.ones(f.shape, bool) if r.valid is None else np.broadcast_to(r.valid, f.shape)
            for r, f in zip(rasters, frames, strict=True)
        ]
        valid = None if all(raster.valid is None for raster in rasters) else np.concatenate(masks)
        return Raster(pixels=np.concatenate(frames), white=max(raster.white for raster in rasters), valid=valid)

    def _decode_frame(self, number: int) -> Raster:
        stored = self._pixels.frame(number)  # YBR becomes RGB
        bands = stored[None] if stored.ndim == 2 else stored.transpose(2, 0, 1)
        if bands.shape != (self._samples, self.height, self.width):
            raise InvalidInputError(
                f"pixels of shape {stored.shape}, where the header says {self.width}x{self.height}."
            )
        return self._rescaled(np.ascontiguousarray(bands), number)

    def _rescaled(self, stored: NDArray[Any], number: int) -> Raster:
        low = -(2 ** (self._bits - 1)) if self._signed else 0
        high = low + 2**self._bits - 1
        slope, intercept = self._rescale("RescaleSlope", 1.0, number), self._rescale("RescaleIntercept", 0.0, number)
        inverted = self._photometric == "MONOCHROME1" or self._header.get("PresentationLUTShape") == "INVERSE"
        white = max(slope * high, slope * low) + intercept
        if not slope or not white > 0 or not np.isfinite([slope, intercept]).all():
            raise InvalidInputError(
                f"a rescale slope of {slope} and intercept of {intercept}, which map all pixels to one value."
            )
        valid = self._valid(stored) if self._samples == 1 else None
        if not inverted and (slope, intercept) == (1, 0):
            return Raster(pixels=stored, white=white, valid=valid, picture=True)
        values = stored.astype(np.float64)
        if inverted:
            values = low + high - values
        return Raster(pixels=(slope * values + intercept).astype(np.float32), white=white, valid=valid, picture=True)

    def _rescale(self, name: str, default: float, number: int) -> float:
        """A rescale value of a frame: from the frame's own group, otherwise the shared group, otherwise the file."""
        per_frame = self._header.get("PerFrameFunctionalGroupsSequence") or []
        shared = self._header.get("SharedFunctionalGroupsSequence") or []
        groups = [*per_frame[number : number + 1], *shared[:1]]
        found = [sequence[0] for group in groups if (sequence := group.get("PixelValueTransformationSequence"))]
        for place in (*found, self._header):
            try:
                value = place.get(name)
                if value is not None and value != "":
                    return float(value)
            except (TypeError, ValueError) as error:
                raise InvalidInputError(f"a DICOM file whose {name} is not a number.") from error
        return default

    def _valid(self, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return a mask of the stored values that are not padding (PS3.3 C.7.5.1.1.2), None if there is no padding."""
        if self._header.get("PixelPaddingValue") in (None, ""):
            return None
        first = self._as_stored("PixelPaddingValue")
        last = self._as_stored("PixelPaddingRangeLimit") if self._header.get("PixelPaddingRangeLimit") else first
        padding = (stored[0] >= min(first, last)) & (stored[0] <= max(first, last))
        return ~padding if padding.any() else None

    def _as_stored(self, name: str) -> int:
        """A value in the stored type: some writers give a negative number as the unsigned one of the same bits."""
        value = self._whole_number(name)
        allocated = self._whole_number("BitsAllocated")
        low = -(1 << (allocated - 1)) if self._signed else 0
        return (value - low) % (1 << allocated) + low
