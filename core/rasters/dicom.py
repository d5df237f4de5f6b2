"""One frame of DICOM, through pydicom: the numbers after the modality's rescaling, bright as a viewer shows them.

Windowing (VOI) is a matter of display and not applied.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.extras import import_extra
from zoo.core.rasters.options import ReadOptions
from zoo.core.rasters.raster import Raster
from zoo.core.rasters.raster_file import WholeRasterFile

_PREAMBLE = 132  # bytes, "DICM" included
_DEFLATED = "1.2.840.10008.1.2.1.99"
_META_GROUP = 2
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


class Dicom(WholeRasterFile):
    """Grey or colour of one frame (DICOM PS3.3 C.7.6.3, C.11.1)."""

    def __init__(self, file: BinaryIO, options: ReadOptions) -> None:
        super().__init__(options)
        self._pydicom = import_extra("pydicom", "dicom", "Reading DICOM")
        self._file = file
        self._check_transfer_syntax()
        file.seek(0)
        header = self._header = self._pydicom.dcmread(file, stop_before_pixels=True)
        self.height, self.width = int(header.Rows), int(header.Columns)
        self.num_bands = int(header.SamplesPerPixel)
        self._bits = int(header.BitsStored)
        self._signed = int(header.PixelRepresentation) == 1
        frames = int(header.get("NumberOfFrames") or 1)
        if frames > 1:
            raise InvalidInputError(f"{frames} frames or pages, where one picture was expected.")
        expected = {1: _GREY, 3: _COLOUR}.get(self.num_bands, ())
        if header.PhotometricInterpretation not in expected:
            raise InvalidInputError(
                f"{self.num_bands} samples of {header.PhotometricInterpretation}, where grey or RGB was expected."
            )
        if "ModalityLUTSequence" in header:
            raise InvalidInputError("a modality lookup table, where rescale slope and intercept were expected.")
        if not 1 <= self._bits <= 32:
            raise InvalidInputError(f"{self._bits} bits per sample, where 1 to 32 were expected.")
        options.check_size(self.width, self.height, self.num_bands)

    def _check_transfer_syntax(self) -> None:
        """Before pydicom reads more: it would inflate a deflated file to whatever size, and then lack a decoder."""
        self._file.seek(_PREAMBLE)
        meta = self._pydicom.filereader.read_dataset(
            self._file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != _META_GROUP
        )
        syntax = self._pydicom.uid.UID(meta.get("TransferSyntaxUID", ""))
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
        self._file.seek(0)
        dataset = self._pydicom.dcmread(self._file)
        stored = self._pydicom.pixels.pixel_array(dataset)  # YBR becomes RGB
        bands = stored[None] if stored.ndim == 2 else stored.transpose(2, 0, 1)
        if bands.shape != (self.num_bands, self.height, self.width):
            raise InvalidInputError(
                f"pixels of shape {stored.shape}, where the header says {self.width}x{self.height}."
            )
        return self._rescaled(np.ascontiguousarray(bands))

    def _rescaled(self, stored: NDArray[Any]) -> Raster:
        low = -(2 ** (self._bits - 1)) if self._signed else 0
        high = low + 2**self._bits - 1
        slope, intercept = (
            float(self._header.get(name, default)) for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
        inverted = self._header.PhotometricInterpretation == "MONOCHROME1"
        white = slope * high + intercept
        if not white > 0 or not np.isfinite([slope, intercept]).all():
            raise InvalidInputError(f"a rescale slope of {slope} and intercept of {intercept}, which leave no white.")
        if not inverted and (slope, intercept) == (1, 0):
            return Raster(pixels=stored, white=white, picture=True)
        values = stored.astype(np.float64)
        if inverted:
            values = low + high - values
        return Raster(pixels=(slope * values + intercept).astype(np.float32), white=white, picture=True)
