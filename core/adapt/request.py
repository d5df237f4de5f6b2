"""What the user requests of an adaptation, checked before anything is read. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.core.architectures.model_facts import check_num_classes
from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import METHODS, SPECTRAL, check_in_chans
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.channels.band_placement import Missing
    from zoo.core.channels.sensors import Band

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
DEFAULT_METHOD = "repeat"


@dataclass(frozen=True, kw_only=True)
class AdaptRequest:
    """What to change; None or an empty value keeps the source's.

    Args:
        in_chans: number of channels of the new input layer; with `bands`, the number of bands.
        method: how the new filters are made (docs/adaptation.md); with `bands`, only spectral and the default.
        bands: bands of the new images, in order. `from_bands`: bands of the images the source was trained on; red,
            green, blue if it reads three. `missing_bands`: where a band without a counterpart gets its filter.
        num_classes: outputs of the classifier; a number other than the source's makes a new one, 0 leaves it out.
        seed: seed for the initial values of a new classifier, 0 to 2^64 - 1.
        keep_classes: rows of the classifier to keep, in the new order.
        img_size: height and width in pixels to resize position embeddings for. `patch_size`: side of a patch, likewise.
        source_size: height and width in pixels of the images that the source is made for, if it does not say so.
        dtype: dtype of all floating-point tensors: float32, float16 or bfloat16.
        strip_prefix: prefix to remove from names; tensors without it are left out. `prefix`: prefix to add.
        drop: wildcards for names of tensors to leave out.
        input_layers, input_layout, classifier: for checkpoints of an architecture that zoo does not know. An input
            layer `name=N` gets N channels of its own; then all layers must be given so, and `in_chans` is their sum.

    Raises UsageError for a request that no file could satisfy.
    """

    in_chans: int | None = None
    method: str = DEFAULT_METHOD
    bands: tuple[Band, ...] = ()
    from_bands: tuple[Band, ...] = ()
    missing_bands: Missing = "nearest"
    num_classes: int | None = None
    seed: int = 0
    keep_classes: tuple[int, ...] = ()
    img_size: tuple[int, int] | None = None
    patch_size: int | None = None
    source_size: tuple[int, int] | None = None
    dtype: str = ""
    prefix: str = ""
    strip_prefix: str = ""
    drop: tuple[str, ...] = ()
    input_layers: tuple[str, ...] = ()
    input_layout: InputLayout | None = None
    classifier: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.in_chans is not None:
            check_in_chans(self.in_chans)
        if self.method not in (*METHODS, SPECTRAL):
            raise UsageError(f"The method must be one of {', '.join((*METHODS, SPECTRAL))}, found {self.method!r}.")
        if self.method == SPECTRAL and not self.bands:
            raise UsageError(
                f"The method {SPECTRAL} needs the wavelengths of the new channels.",
                hint="Name them: --bands 450nm,460nm,470nm",
            )
        if self.bands and self.method not in (DEFAULT_METHOD, SPECTRAL):
            raise UsageError(
                f"The method {self.method} goes by the places of channels, and bands were named.",
                hint="Leave out the method or the bands. For bands without a counterpart: --missing-bands.",
            )
        if self.bands and self.in_chans not in (None, len(self.bands)):
            raise UsageError(
                f"{len(self.bands)} bands were named for {self.in_chans} channels; the two numbers must be equal."
            )
        if self.from_bands and not self.bands:
            raise UsageError(
                "The bands of the source are of no use without those of the new images.", hint="Pass --bands too."
            )
        if self.num_classes is not None:
            check_num_classes(self.num_classes)
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"The seed must be a number from 0 to 2^64 - 1, found {self.seed}.")
        if self.keep_classes and self.num_classes not in (None, len(self.keep_classes)):
            raise UsageError(
                f"{len(self.keep_classes)} classes would be kept, but {self.num_classes} classes were asked for."
            )
        if min(self.keep_classes, default=0) < 0 or len(set(self.keep_classes)) != len(self.keep_classes):
            raise UsageError("The classes to keep must be distinct numbers, counted from 0.")
        if self.dtype and self.dtype not in DTYPES:
            raise UsageError(f"The dtype must be one of {', '.join(DTYPES)}, found {self.dtype!r}.")
        sides = [*(self.img_size or ()), *(self.source_size or ()), 1 if self.patch_size is None else self.patch_size]
        if min(sides) < 1:
            raise UsageError("Image and patch sizes must be 1 or more pixels.")
