"""Small images of every format, and changes of their headers that keep the structure: seeded by a number.

Run as a script it reads a range of them in one process and prints what became of each:
`python changed_images.py FIRST COUNT [FORMAT]`.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, features

SIDES = (0, 1, 2, 5, 255, 4096, 16383, 20_000, 32_768, 65_500, 65_535)
LARGE = (*SIDES, 70_000, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
SECONDS = 5.0
MEBIBYTES = 400


def bases() -> dict[str, bytes]:
    """One small image of each format and kind; those that need a package that is missing are left out."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6

    def saved(image: Image.Image, kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    found = {
        "jpeg": saved(picture, "JPEG", exif=exif),
        "jpeg progressive": saved(picture, "JPEG", progressive=True),
        "jpeg grey": saved(picture.convert("L"), "JPEG"),
        "jpeg cmyk": saved(picture.convert("CMYK"), "JPEG"),
        "png": saved(picture, "PNG", exif=exif),
        "png palette": saved(picture.quantize(7), "PNG"),
        "png 16 bits": saved(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG"),
        "png alpha": saved(picture.convert("RGBA"), "PNG"),
        "gif": saved(picture, "GIF"),
        "bmp": saved(picture, "BMP"),
        "ppm": saved(picture, "PPM"),
    }
    if features.check("webp"):
        found["webp"] = saved(picture, "WEBP", exif=exif)
        found["webp lossless"] = saved(picture.convert("RGBA"), "WEBP", lossless=True)
    if features.check("jpg_2000"):
        found["jp2"] = saved(picture, "JPEG2000")
    if features.check("avif"):
        found["avif"] = saved(picture, "AVIF", exif=exif)
    found |= _by_other_packages(pixels)
    return found | _dicoms(pixels, found["jpeg grey"])


def _by_other_packages(pixels: np.ndarray) -> dict[str, bytes]:
    found = {}
    with suppress(ImportError):
        import imagecodecs

        found["jxl"] = imagecodecs.jpegxl_encode(pixels, lossless=True)
    with suppress(ImportError):
        import pillow_heif

        file = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(pixels).resize((64, 64))).save(file)
        found["heic"] = file.getvalue()
    return found


def _dicoms(pixels: np.ndarray, jpeg: bytes) -> dict[str, bytes]:
    try:
        import pydicom
    except ImportError:
        return {}
    found = {}
    for name, syntax in (("dicom", "1.2.840.10008.1.2.1"), ("dicom jpeg", "1.2.840.10008.1.2.4.50")):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.NumberOfFrames = 1, "MONOCHROME2", 1
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.PixelPaddingValue = 1, -1, 0
        raw = pixels[..., 0].tobytes() + b"\0"
        dataset.PixelData = raw if name == "dicom" else pydicom.encaps.encapsulate([jpeg])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        found[name] = file.getvalue()
    return found


# ---------------------------------------------------------------- what is changed


def any_bytes(data: bytes, seed: random.Random) -> bytes:
    """Bytes replaced, left out, repeated; or the end cut off."""
    changed = bytearray(data)
    for _ in range(seed.choice((1, 1, 2, 4, 8))):
        place = seed.randrange(len(changed))
        kind = seed.randrange(4)
        if kind == 0:
            changed[place] = seed.randrange(256)
        elif kind == 1:
            changed[place : place + 4] = struct.pack(seed.choice("<>") + "L", seed.choice(LARGE))
        elif kind == 2:
            changed[place:place] = changed[place : place + seed.randrange(40)]
        elif len(changed) > 20:
            del changed[place : place + seed.randrange(20)]
    return bytes(changed[: seed.randrange(1, len(changed))] if seed.random() < 0.1 and len(changed) > 1 else changed)


def jpeg(data: bytes, seed: random.Random) -> bytes:
    """Segments changed, doubled, left out; frames of other sizes and kinds; scans repeated; EXIF that names itself."""
    segments, position = [], 2
    while position + 4 <= len(data) and data[position + 1] != 0xDA:
        length = 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        segments.append(bytearray(data[position : position + length]))
        position += length
    rest = data[position:]
    for _ in range(seed.choice((1, 1, 2, 3))):
        place = seed.randrange(len(segments))
        segment, kind = segments[place], seed.randrange(7)
        frame = next((s for s in segments if s[1] in (0xC0, 0xC2)), None)
        if kind <= 1 and frame is not None:
            frame[5:9] = struct.pack(">HH", seed.choice(SIDES), seed.choice(SIDES))
        elif kind == 2 and frame is not None:
            offset = seed.choice((1, 4, 9, 10, 11, 13))
            if offset < len(frame):
                frame[offset] = seed.choice((0, 1, 2, 3, 4, 8, 12, 0x11, 0x22, 0x44, 0xC1, 0xC2, 0xC3, 0xC9, 0xFF))
        elif kind == 3:
            segments.insert(place, bytearray(seed.choice(segments)))
        elif kind == 4:
            segments.insert(place, bytearray(exif_of_itself(seed)))
        elif kind == 5:
            rest = rest[:-2] + rest * seed.choice((1, 3, 300))
        elif len(segment) > 4:
            segment[seed.randrange(2, len(segment))] = seed.randrange(256)
    return data[:2] + b"".join(map(bytes, segments)) + rest


def exif_of_itself(seed: random.Random) -> bytes:
    """An APP1 segment whose thousands of entries all have nearly all of it as their value."""
    entries = seed.choice((1, 100, 5000))
    body = b"".join(struct.pack("<HHLL", 0x0100 + i, 7, 60_000, 8) for i in range(entries))
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", entries) + body
    block = block[:65_500].ljust(65_500, b"\0")
    return b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block


def png(data: bytes, seed: random.Random) -> bytes:
    """Chunks with right checksums: changed, doubled, left out, bombs of text and profiles; another header."""
    chunks, position = [], 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        chunks.append((name, data[position + 8 : position + 8 + length]))
        position += length + 12
    for _ in range(seed.choice((1, 1, 2, 3))):
        place, kind = seed.randrange(len(chunks)), seed.randrange(6)
        if kind == 0:
            sizes = struct.pack(">II", seed.choice(LARGE), seed.choice(SIDES))
            kinds = (seed.choice((1, 2, 4, 8, 16)), seed.choice((0, 2, 3, 4, 6)), 0, 0, seed.choice((0, 1)))
            chunks[0] = b"IHDR", sizes + bytes(kinds)
        elif kind == 1:
            chunks.insert(place, seed.choice(chunks))
        elif kind == 2 and len(chunks) > 1:
            chunks.pop(place)
        elif kind == 3:
            name, start = seed.choice(((b"iCCP", b"x\0\0"), (b"zTXt", b"x\0\0"), (b"iTXt", b"x\0\1\0\0\0")))
            chunks.insert(1, (name, start + zlib.compress(bytes(seed.choice((10, 10_000, 20_000_000))), 9)))
        elif kind == 4:
            names = (b"acTL", b"fcTL", b"fdAT", b"tRNS", b"PLTE", b"eXIf", b"sBIT", b"gAMA", b"cHRM", b"pHYs", b"IDAT")
            chunks.insert(place, (seed.choice(names), seed.randbytes(seed.randrange(40))))
        else:
            name, content = chunks[place]
            if content:
                at = seed.randrange(len(content))
                chunks[place] = name, content[:at] + seed.randbytes(1) + content[at + 1 :]
    parts = (struct.pack(">I4s", len(c), n) + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return data[:8] + b"".join(parts)


def webp(data: bytes, seed: random.Random) -> bytes:
    """Chunks changed; another canvas; frames of an animation."""
    chunks, position = [], 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        chunks.append((name, data[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    kind = seed.randrange(4)
    if kind == 0:
        sides = b"".join(seed.choice((*SIDES, 2**24 - 1)).to_bytes(3, "little") for _ in range(2))
        chunks = [c for c in chunks if c[0] != b"VP8X"]
        chunks.insert(0, (b"VP8X", bytes((seed.choice((0, 2, 8, 16, 18)), 0, 0, 0)) + sides))
    elif kind == 1:
        name, content = seed.choice(chunks)
        frame = struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
        for _ in range(seed.choice((1, 2, 500))):
            chunks.append((b"ANMF", bytes(6) + b"\xff\x3f\0\xff\x3f\0" + b"\1\0\0\0" + frame))
    elif kind == 2:
        place = seed.randrange(len(chunks))
        name, content = chunks[place]
        at = min(len(content) - 4, seed.choice((1, 5, 6, 8))) if len(content) > 12 else 0
        chunks[place] = name, content[:at] + struct.pack("<L", seed.choice(LARGE)) + content[at + 4 :]
    else:
        chunks.insert(seed.randrange(len(chunks) + 1), seed.choice(chunks))
    body = b"".join(struct.pack("<4sI", n, len(c)) + c + b"\0" * (len(c) % 2) for n, c in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def fields(places: dict[int, str]) -> Callable[[bytes, random.Random], bytes]:
    """A changer of numbers that stand at fixed places."""

    def changed(data: bytes, seed: random.Random) -> bytes:
        found = bytearray(data)
        for _ in range(seed.choice((1, 1, 2, 3))):
            place, form = seed.choice(list(places.items()))
            size = struct.calcsize(form)
            value = seed.choice((*LARGE, 3, 4, 8, 16, 24, 32, seed.randrange(2**31))) % 256**size
            found[place : place + size] = struct.pack(form, value)
        return bytes(found)

    return changed


gif = fields({6: "<H", 8: "<H", 10: "<B", 12: "<B", 13: "<B"})
bmp = fields({2: "<L", 10: "<L", 14: "<L", 18: "<L", 22: "<L", 26: "<H", 28: "<H", 30: "<L", 34: "<L", 46: "<L"})


def named_numbers(marks: dict[bytes, tuple[int, ...]], form: str) -> Callable[[bytes, random.Random], bytes]:
    """A changer of numbers that stand behind a name, wherever that is."""

    def changed(data: bytes, seed: random.Random) -> bytes:
        found = bytearray(data)
        for _ in range(seed.choice((1, 2, 2, 4))):
            mark = seed.choice(list(marks))
            start = found.find(mark)
            place = start + len(mark) + seed.choice(marks[mark])
            size = struct.calcsize(form)
            if start >= 0 and place + size <= len(found):
                found[place : place + size] = struct.pack(form, seed.choice((*LARGE, 3, 100)) % 256**size)
        return bytes(found)

    return changed


avif = named_numbers(
    {b"ispe": (4, 8), b"av1C": (0,), b"pixi": (4, 5), b"iloc": (4, 8, 12, 16, 20), b"meta": (-8,)}, ">L"
)
jp2 = named_numbers({b"ihdr": (0, 4), b"\xff\x51": (4, 8, 12, 16, 20, 24, 28, 32), b"jp2c": (-8,)}, ">L")
jp2_small = named_numbers({b"\xff\x51": (36, 38, 39, 40), b"\xff\x52": (2, 4, 7, 8), b"ihdr": (8, 10)}, ">H")


jxl = fields({2: "<L", 3: "<L", 4: "<L", 5: "<B", 6: "<B", 7: "<L"})
heic = named_numbers({b"ispe": (4, 8), b"hvcC": (17, 18, 22, 30), b"iloc": (4, 8, 12, 16, 20), b"meta": (-8,)}, ">L")


def ppm(data: bytes, seed: random.Random) -> bytes:
    """Other figures in the header."""
    figures = b"%d %d\n%d\n" % (seed.choice(LARGE), seed.choice(SIDES), seed.choice((0, 1, 255, 256, 65535, 10**6)))
    return data[:1] + seed.choice((b"1", b"2", b"3", b"4", b"5", b"6")) + b"\n" + figures + data[15:]


def dicom(data: bytes, seed: random.Random) -> bytes:
    """Attributes of the image, and the length of its pixels; a JPEG that says another size."""
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(data))
    for _ in range(seed.choice((1, 2, 3))):
        name = seed.choice(
            ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "frames", "jpeg")
        )
        if name == "jpeg" and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            frame = jpeg(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1), seed)
            dataset.PixelData = pydicom.encaps.encapsulate([frame])
        elif name == "frames":
            dataset.NumberOfFrames = seed.choice(("0", "2", "1000", "2147483647"))
        elif name in dataset:
            setattr(dataset, name, seed.choice((0, 1, 3, 7, 8, 12, 16, 32, 64, 255, 8000, 20_000, 65_535)))
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


CHANGES: dict[str, tuple[Callable[[bytes, random.Random], bytes], ...]] = {
    "jpeg": (jpeg,), "png": (png,), "webp": (webp,), "gif": (gif,), "bmp": (bmp,), "avif": (avif,),
    "heic": (heic,), "jp2": (jp2, jp2_small), "jxl": (jxl,), "ppm": (ppm,), "dicom": (dicom, dicom),
}  # fmt: skip


def changed_image(images: dict[str, bytes], number: int, only: str = "") -> tuple[str, bytes]:
    """Name and bytes of the image of that number, the same everywhere."""
    seed = random.Random(f"image {number}")
    name = seed.choice([n for n in images if n.startswith(only)])
    changes = CHANGES[name.split()[0]]
    data = images[name]
    if seed.random() < 0.75:
        data = seed.choice(changes)(data, seed)
    if data and seed.random() < 0.4:
        data = any_bytes(data, seed)
    return name, data


def _peak() -> int:
    """Most memory of this process since the last `_forget_peak`, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def read_range(first: int, count: int, only: str = "") -> dict[str, object]:
    """Read images of a range of numbers; what was not as it should be, and how many became what."""
    from zoo.core.errors import InvalidInputError
    from zoo.core.images.inputs.image_input import ImageInput
    from zoo.core.images.rasters.options import ReadOptions
    from zoo.core.images.rasters.read import open_raster, read_image

    images = bases()
    counts = {"read": 0, "refused": 0}
    wrong: list[str] = []
    slowest, highest = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image")
        for image in images.values():  # what is imported on the way is no part of the measurement
            Path(path).write_bytes(image)
            read_image(path, 3)
        for number in range(first, first + count):
            name, data = changed_image(images, number, only)
            Path(path).write_bytes(data)
            seed = random.Random(number)
            options = ReadOptions(
                in_chans=seed.choice((1, 3)), min_size=seed.choice((0, 0, 4)), frames=seed.choice(("", "all"))
            )
            _forget_peak()
            before, start = _peak(), time.perf_counter()
            try:
                with open_raster(ImageInput("image", path), options) as file:
                    size, whole = (file.width, file.height), file.read()
                    if not options.min_size and whole.size != size:
                        wrong.append(f"{number} ({name}): {whole.size} where the header said {size}")
                counts["read"] += 1
            except InvalidInputError:
                counts["refused"] += 1
            except Exception as error:
                wrong.append(f"{number} ({name}): {type(error).__name__}: {error}")
            seconds, grown = time.perf_counter() - start, _peak() - before
            slowest, highest = max(slowest, seconds), max(highest, grown)
            if seconds > SECONDS or grown > MEBIBYTES:
                wrong.append(f"{number} ({name}): {seconds:.1f} s, {grown} MiB")
    return {"wrong": wrong, **counts, "slowest": round(slowest, 2), "mebibytes": highest}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read_range(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4])) + "\n")
