"""DICOM files of one frame and of several, written by pydicom, which the tests that call these functions need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write(path: Path, values: np.ndarray, *, syntax: str = "1.2.840.10008.1.2.1", **attributes: Any) -> Path:
    """Write (height, width) or (height, width, 3)."""
    import pydicom

    dataset = pydicom.Dataset()
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    dataset["PixelData"].VR = "OW" if values.itemsize > 1 else "OB"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if pydicom.uid.UID(syntax).is_encapsulated:
        dataset.PixelData = pydicom.encaps.encapsulate([values.tobytes()])
        dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def numbers(*shape: int, dtype: str = "uint16", high: int = 4096) -> np.ndarray:
    return np.random.default_rng(5).integers(0, high, shape).astype(dtype)


def write_frames(path: Path, frames: np.ndarray, **attributes: Any) -> Path:
    """Write (frames, height, width) or (frames, height, width, 3)."""
    import pydicom

    write(path, frames[0], **attributes)
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OW" if frames.itemsize > 1 else "OB"
    dataset.save_as(path)
    return path
