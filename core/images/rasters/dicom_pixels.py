"""Read the pixels of a DICOM file, one frame at a time.

Nothing is allocated before it is certain that the data exist, or that a codec states the same size as the header.
"""

from __future__ import annotations

import io
import struct
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters import jpeg
from zoo.core.images.rasters.boxes import read_jpeg2000_header
from zoo.core.images.rasters.file_parts import FileParts

_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF
_RLE = "1.2.840.10008.1.2.5"
_JPEG_2000 = "1.2.840.10008.1.2.4.9"  # the prefix of their identifiers
_JPEG = ("1.2.840.10008.1.2.4.5", "1.2.840.10008.1.2.4.7", "1.2.840.10008.1.2.4.8")


class PixelData:
    """The location of a file's frames; `file` is positioned where pydicom stopped before them.

    Raises:
        InvalidInputError: there are no frames, or fewer than the header states.
    """

    def __init__(self, pydicom: Any, file: FileParts, header: Any) -> None:
        self._pydicom = pydicom
        self._file = file
        self._header = header
        implicit, little = header.original_encoding
        order = "<" if little else ">"
        stated = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
        assumed = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
        self._syntax = pydicom.uid.UID(stated or assumed)
        head = file.read(8)
        if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != _PIXEL_DATA:
            raise InvalidInputError("a DICOM file without integer pixels.")
        length = struct.unpack(f"{order}L", head[4:] if implicit else file.read(4).ljust(4, b"\0"))[0]
        self._start = file.tell()
        self._options = pydicom.pixels.utils.as_pixel_options(header)
        self._options.pop("extended_offsets", None)
        self._frames = self._options["number_of_frames"]
        self._options |= {"number_of_frames": 1, "pixel_keyword": "PixelData", "transfer_syntax_uid": self._syntax}
        self._options["pixel_vr"] = "OW" if implicit else head[4:6].decode("latin-1")
        bits = header.Rows * header.Columns * header.SamplesPerPixel * header.BitsAllocated
        if self._options["photometric_interpretation"] == "YBR_FULL_422" and not self._syntax.is_encapsulated:
            bits = bits // 3 * 2
        self._bits_of_frame = int(bits)
        if not self._syntax.is_encapsulated:
            there = min(length, file.seek(0, 2) - self._start)
            if ceil(bits * self._frames / 8) > there:
                raise InvalidInputError(
                    f"{there} bytes of pixels, where {self._frames} frames of {header.Columns}x{header.Rows} take "
                    f"{ceil(bits * self._frames / 8)}."
                )
        elif length != _UNDEFINED:
            raise InvalidInputError("compressed pixels that are not in fragments.")

    def frame(self, number: int) -> NDArray[Any]:
        """The values of a frame, counted from 0: (height, width) or (height, width, 3)."""
        decoder = self._pydicom.pixels.get_decoder(self._syntax)
        if self._syntax.is_encapsulated:
            data = self._pydicom.encaps.encapsulate([self._compressed(number)])
            return np.asarray(decoder.as_array(data, index=0, **self._options)[0])
        if self._bits_of_frame % 8 and self._frames > 1:
            raise InvalidInputError("frames that do not begin at a whole byte.")
        size = ceil(self._bits_of_frame / 8)
        self._file.seek(self._start + number * size)
        data = self._file.read(size)
        options = self._options | {"correct_unused_bits": False}
        values = np.asarray(decoder.as_array(data + b"\0" * (size % 2), index=0, **options)[0])
        return self._stored_bits(values) if self._header.BitsAllocated > 1 else values

    def _stored_bits(self, values: NDArray[Any]) -> NDArray[Any]:
        """Remove the bits above and below the stored ones (overlays; values may begin at the highest bit)."""
        allocated = 8 * values.itemsize
        stored = int(self._options["bits_stored"])
        high = self._header.get("HighBit")
        high = stored - 1 if high is None or not stored - 1 <= high < allocated else int(high)
        if stored >= allocated or values.dtype.kind not in "iu":
            return values
        above = values.dtype.type(allocated - 1 - high)
        moved: NDArray[Any] = np.right_shift(np.left_shift(values, above), values.dtype.type(allocated - stored))
        return moved

    def _compressed(self, number: int) -> bytes:
        """The bytes of a frame, after checking that its codec states the same size as the header."""
        header = self._header
        self._file.seek(self._start)
        data: bytes = self._pydicom.encaps.get_frame(self._file, number, number_of_frames=self._frames)
        expected = (header.Columns, header.Rows, header.SamplesPerPixel)
        if self._syntax == _RLE:
            # A run of 128 takes two bytes: data longer than the values themselves are not compressed.
            if len(data) > self._bits_of_frame // 4 + 1024:
                raise InvalidInputError(f"{len(data)} bytes of run lengths for a frame of {self._bits_of_frame // 8}.")
            return data
        if self._syntax.startswith(_JPEG_2000):
            j2k = read_jpeg2000_header(io.BytesIO(data))
            found, tiles = (j2k.width, j2k.height, j2k.components), j2k.tiles
        elif self._syntax.startswith(_JPEG):
            frame = jpeg.read_header(io.BytesIO(data))
            jpeg.check_scans(io.BytesIO(data), frame)
            found, tiles = (frame.width, frame.height, frame.components), 1
        else:
            raise InvalidInputError(f"DICOM pixels in {self._syntax.name}, which is not read.")
        if found != expected or tiles > 1 << 12:
            raise InvalidInputError(
                f"a compressed picture of {found[0]}x{found[1]} pixels of {found[2]} samples, where the header says "
                f"{expected[0]}x{expected[1]} of {expected[2]}."
            )
        return data
