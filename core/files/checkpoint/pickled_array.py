"""numpy arrays as described in pickles and archives, not yet validated."""

from __future__ import annotations

from typing import Any

from zoo.core.files.checkpoint.latin1 import latin1_bytes
from zoo.core.files.checkpoint.pickle_machine import LongString
from zoo.core.files.checkpoint.torch_dtypes import ElementType, checked_sizes, numpy_dtype
from zoo.core.files.stored_tensor import Computed, Region


class NumpyArray:
    """A numpy array in a pickle or in a file of its own, not yet validated."""

    __slots__ = ("data", "dtype", "fortran", "shape")

    def __init__(
        self,
        dtype: ElementType | None = None,
        shape: tuple[int, ...] = (),
        data: bytes | Region | Computed = b"",
        fortran: bool = False,
    ) -> None:
        self.dtype, self.shape, self.data, self.fortran = dtype, shape, data, fortran


class NumpyDtype:
    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def element_type(self) -> ElementType:
        return numpy_dtype(("" if self.code[:1] in "<>=|" else self.order) + self.code)


def described_dtype(code: Any, *_: Any) -> NumpyDtype:
    return NumpyDtype(code if isinstance(code, str) else "?")


def fill(array: NumpyArray, dtype: Any, shape: Any, data: Any, fortran: Any) -> None:
    if not isinstance(dtype, NumpyDtype):
        raise TypeError("an array without a dtype")
    array.dtype, array.shape, array.fortran = dtype.element_type(), checked_sizes(shape), bool(fortran)
    # Python 2 stored bytes as text; an array of objects has a list.
    if isinstance(data, LongString):
        data = decoded_bytes(data) if data.is_text else data.data or data.region
    array.data = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(array.data, bytes | Region | Computed):
        array.data = b""


def decoded_bytes(text: LongString) -> Computed:
    """The bytes of the text, counted only once even if a pickle uses it often."""
    text.data = text.data or latin1_bytes(text.region)
    return text.data


def array_of_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> NumpyArray:
    array = NumpyArray()
    fill(array, dtype, shape, data, order == "F")
    return array
