"""Recognise file formats that zoo does not read, so that the error can name them."""

from __future__ import annotations

from typing import BinaryIO

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters.raster_file import unknown_format

_HDF5 = "an HDF5 file (or NetCDF 4)"
_BY_FIRST_BYTES = {
    b"CDF\x01": "a NetCDF file",
    b"CDF\x02": "a NetCDF file",
    b"CDF\x05": "a NetCDF file",
    b"\x89HDF\r\n\x1a\n": _HDF5,
    b"\x0e\x03\x13\x01": "an HDF4 file",
    b"GRIB": "a GRIB file",
    b"SIMPLE  =": "a FITS file",
    b"NRRD": "an NRRD file",
    b"MATLAB 5.0": "a MATLAB file",
    b"\x5c\x01\0\0": "a NIfTI file",
    b"\0\0\x01\x5c": "a NIfTI file",
    b"\x1c\x02\0\0": "a NIfTI file",
    b"\0\0\x02\x1c": "a NIfTI file",
    b"\x76\x2f\x31\x01": "an OpenEXR file",
    b"#?RADIANCE": "a Radiance HDR file",
    b"\0\0\x01\0": "an icon (ICO)",
    b"8BPS": "a Photoshop file (PSD)",
    b"%PDF": "a PDF file",
    b"%!PS": "a PostScript file",
    b"\xc5\xd0\xd3\xc6": "a PostScript file",
    b"DDS ": "a DDS texture",
    b"AT&TFORM": "a DjVu file",
    b"gimp xcf": "a GIMP file (XCF)",
    b"P7\n": "a PAM file",
    b"PF\n": "a PFM file",
    b"Pf\n": "a PFM file",
    b"FUJIFILMCCD-RAW": "a camera's raw file",
    b"IIRO": "a camera's raw file",
    b"IIRS": "a camera's raw file",
    b"IIU\0": "a camera's raw file",
    b"\x1a\x45\xdf\xa3": "a film (Matroska or WebM)",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"PAR1": "a Parquet file",
    b"\x80\x02": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
}
_GIT_LFS = "Fetch the files: git lfs pull"
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"


def not_read(file: BinaryIO, start: bytes) -> InvalidInputError:
    """The error that names the file's format, if its first bytes show it (for TGA, its last bytes).

    Args:
        file: read at its end.
        start: its first bytes; 64 are enough.
    """
    file.seek(max(0, file.seek(0, 2) - len(_TGA_FOOTER)))
    if file.read() == _TGA_FOOTER:
        name = "a TGA file"
    else:
        by_magic = (name for magic, name in _BY_FIRST_BYTES.items() if start.startswith(magic))
        name = next(by_magic, "") or _by_content(start)
    if not name:
        return unknown_format()
    if "Git LFS" in name:
        return InvalidInputError(f"{name}.", hint=_GIT_LFS)
    return InvalidInputError(f"{name}, which is not read.", hint="Convert it to TIFF, PNG or .npy first.")


def _by_content(start: bytes) -> str:
    if start[4:8] == b"ftyp":
        return "a camera's raw file" if start[8:12] == b"crx " else "a film (MP4)"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "a film (AVI)"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        return "an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), perhaps an error of the server that it came from"
    return ""
