"""TIFFs as people have them, written by tifffile, rasterio and Pillow: name -> how it is written, and its numbers.

What is written is the truth: arrays (bands, height, width). Where a decoder loses something the truth is None.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

H, W = 40, 48
Write = Callable[[Path], np.ndarray | None]
PLACE = {"crs": "EPSG:32632", "transform": (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_400_000.0)}


def smooth(bands: int = 3) -> np.ndarray:
    """8-bit gradients (bands, height, width)."""
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([(x * (i + 1) * 3 + y * 2) % 256 for i in range(bands)]).astype(np.uint8)


def noise(bands: int, dtype: str) -> np.ndarray:
    random = np.random.default_rng(bands)
    if np.dtype(dtype).kind == "f":
        return random.standard_normal((bands, H, W)).astype(dtype)
    return random.integers(1, min(np.iinfo(dtype).max, 60_000), (bands, H, W)).astype(dtype)


def by_rasterio(values: np.ndarray, place: bool = True, after: Any = None, **profile: Any) -> Write:
    def write(path: Path) -> np.ndarray:
        import rasterio

        bands, height, width = values.shape
        shape = {"count": bands, "height": height, "width": width, "dtype": values.dtype.name}
        where = {"crs": PLACE["crs"], "transform": rasterio.Affine(*PLACE["transform"])} if place else {}
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(path, "w", driver="GTiff", **shape, **where, **profile) as file:
                file.write(values)
            if after is not None:
                with rasterio.open(path, "r+") as file:
                    after(file)
        return values

    return write


def by_tifffile(values: np.ndarray, layout: str = "contig", **options: Any) -> Write:
    def write(path: Path) -> np.ndarray:
        import tifffile

        data = values.transpose(1, 2, 0) if layout == "contig" and len(values) > 1 else values
        planar = {} if layout == "pages" or len(values) == 1 else {"planarconfig": layout}
        tifffile.imwrite(path, data, **{"photometric": "minisblack", "metadata": None, **planar, **options})
        return values

    return write


def by_rasterio_lossy(mask: bool = False, **profile: Any) -> Write:
    """A cloud-optimised GeoTIFF of JPEG tiles; its numbers are what Pillow reads of the full-size page."""
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "JPEG", **profile}

    def finish(file: Any) -> None:
        if mask:
            file.write_mask(np.tile(noise(1, "uint8")[0] > 100, (4, 4)))
        file.build_overviews([2, 4])

    def write(path: Path) -> np.ndarray:
        by_rasterio(np.tile(smooth(), (1, 4, 4)), after=finish, **tiled)(path)
        with Image.open(path) as stored:
            return np.asarray(stored.convert("RGB")).transpose(2, 0, 1)

    return write


def by_pillow(mode: str, **options: Any) -> Write:
    def write(path: Path) -> np.ndarray:
        Image.fromarray(smooth().transpose(1, 2, 0)).convert(mode).save(path, **options)
        with Image.open(path) as stored:
            shown = np.asarray(stored.convert("L" if mode in ("1", "L", "LA") else "RGB"))
        return shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)

    return write


def pyramid(**options: Any) -> Write:
    """Levels as pages, marked as reduced or not."""
    marked = options.pop("marked", True)
    values = np.repeat(np.repeat(smooth(), 4, 1), 4, 2)

    def write(path: Path) -> np.ndarray:
        import tifffile

        with tifffile.TiffWriter(path) as file:
            for step in (1, 2, 4):
                level = np.ascontiguousarray(values[:, ::step, ::step].transpose(1, 2, 0))
                kind = int(marked and step > 1)
                file.write(level, photometric="rgb", tile=(32, 32), metadata=None, subfiletype=kind, **options)
        return values

    return write


def _overviews(file: Any) -> None:
    file.build_overviews([2, 4])


def _mask(file: Any) -> None:
    file.write_mask(noise(1, "uint8")[0] > 100)


def _scale(file: Any) -> None:
    file.scales, file.offsets = (1e-4,) * 3, (-0.1,) * 3
    file.descriptions = ("B04", "B03", "B02")


def _water(bands: int, dtype: str = "uint8") -> np.ndarray:
    """The last band is 0 in the left half; elsewhere some numbers of single bands are 0."""
    values = noise(bands, dtype)
    values[-1, :, : W // 2] = 0
    values[0, 3:6] = 0
    values[:, 20:25, 5:9] = 0
    return values


RGB = {"photometric": "rgb"}
CORPUS: dict[str, Write] = {
    "rgbn_default_alpha": by_rasterio(_water(4)),
    "rgbn_16_bits": by_rasterio(_water(4, "uint16")),
    "rgbn_alpha_no": by_rasterio(_water(4), photometric="RGB", alpha="NO"),
    "rgba_plain": by_tifffile(_water(4), photometric="rgb", extrasamples=[2]),
    "rgb_nodata_0": by_rasterio(_water(3), nodata=0),
    "rgb16_nodata_0": by_rasterio(_water(3, "uint16"), nodata=0),
    "int16_nodata": by_rasterio(_water(2, "int16"), nodata=0),
    "float_nodata_nan": by_rasterio(np.where(_water(2, "uint16") == 0, np.nan, 7).astype("float32"), nodata=np.nan),
    "float_nodata_esri": by_tifffile(
        np.where(_water(2, "uint16") == 0, np.float32(-3.4028234663852886e38), np.float32(7)),
        extratags=[(42113, "s", 0, "-3.40282346638529e+38", True)],
    ),
    "internal_mask": by_rasterio(noise(4, "uint16"), after=_mask),
    "rgb_internal_mask": by_rasterio(smooth(), after=_mask, compress="deflate"),
    "scaled": by_rasterio(noise(3, "uint16"), after=_scale, nodata=0),
    "cog": by_rasterio(np.tile(smooth(), (1, 8, 8)), after=_overviews, tiled=True, blockxsize=64, blockysize=64,
                       compress="deflate", predictor=2),
    "cog_16_bits": by_rasterio(np.tile(noise(5, "uint16"), (1, 8, 8)), after=_overviews, tiled=True, blockxsize=64,
                               blockysize=64, compress="zstd"),
    "pyramid": pyramid(),
    "pyramid_unmarked": pyramid(marked=False, compression="lzw"),
    "imagej": by_tifffile(noise(4, "uint16"), "pages", imagej=True, metadata={"axes": "CYX"}, photometric=None),
    "imagej_one_directory": by_tifffile(noise(4, "uint16"), "pages", imagej=True, metadata={"axes": "CYX"},
                                        photometric=None, truncate=True),
    "ome_channels": by_tifffile(noise(3, "uint16"), "pages", ome=True, metadata={"axes": "CYX"}),
    "pages": by_tifffile(noise(5, "float32"), "pages"),
    "zstd_predictor": by_tifffile(noise(3, "uint16"), compression="zstd", predictor=2, **RGB),
    "planar_tiles": by_tifffile(smooth(), "separate", tile=(16, 16), compression="deflate", **RGB),
    "planar_lzw": by_tifffile(smooth(), "separate", compression="lzw", predictor=2, **RGB),
    "big_endian_bigtiff": by_tifffile(noise(3, "uint16"), bigtiff=True, byteorder=">", compression="lzw", **RGB),
    "webp": by_tifffile(smooth(), compression="webp", compressionargs={"lossless": True}, **RGB),
    "jpeg_2000": by_tifffile(smooth(), compression="jpeg2000", **RGB),
    "jpeg_xl": by_tifffile(smooth(), compression="jpegxl", tile=(32, 32), **RGB),
    "lerc": by_tifffile(noise(1, "float32"), compression="lerc"),
    "lzma": by_tifffile(smooth(), compression="lzma", **RGB),
    "packbits": by_tifffile(smooth(), compression="packbits", **RGB),
    "float16": by_tifffile(noise(5, "float16")),
    "float_predictor": by_tifffile(noise(5, "float32"), tile=(16, 16), compression="deflate", predictor=3),
    "int8": by_tifffile(noise(1, "int8"), photometric="minisblack"),
    "uint32": by_rasterio(noise(2, "uint32"), compress="lzw"),
    "float64": by_rasterio(noise(2, "float64"), tiled=True, blockxsize=16, blockysize=16),
    "rgb_one_strip": by_tifffile(smooth(), rowsperstrip=H, **RGB),
    "few_bits_in_place": by_rasterio(noise(1, "uint8") % 2, nbits=1),
    "grey_in_place": by_rasterio(smooth(1), compress="lzw"),
    "deep_grey_in_place": by_rasterio(noise(1, "uint16"), compress="lzw"),
    "sparse": by_rasterio(np.where(noise(2, "int16") > 30_000, -1, -1).astype("int16"), nodata=-1, sparse_ok=True),
    "jpeg_cog": by_rasterio_lossy(photometric="YCBCR"),
    "jpeg_cog_rgb": by_rasterio_lossy(photometric="RGB"),
    "jpeg_cog_mask": by_rasterio_lossy(photometric="YCBCR", mask=True),
    "grey": by_pillow("L"),
    "bilevel": by_pillow("1", compression="group4"),
    "palette": by_pillow("P"),
    "inks": by_pillow("CMYK", compression="tiff_lzw"),
    "grey_alpha": by_pillow("LA"),
    "jpeg": by_pillow("RGB", compression="jpeg"),
    "jpeg_ycbcr": by_pillow("YCbCr", compression="jpeg"),
}  # fmt: skip
