"""Read ONNX models: initialisers as tensors in place, inputs and outputs, metadata. Nothing is executed or imported.

Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3. Tensors may lie in other files, which must be in the
model's own folder (https://github.com/onnx/onnx/blob/main/docs/ExternalData.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from math import prod
from typing import Any, NamedTuple

from zoo.core.errors import ZooError
from zoo.core.files.checkpoint.contents import Contents
from zoo.core.files.checkpoint.onnx_names import FOLDED_BIAS, SCOPES, Found, Node, is_made_name, parameters_of
from zoo.core.files.checkpoint.pickled_array import NumpyArray
from zoo.core.files.checkpoint.torch_dtypes import TORCH_DTYPES, ElementType
from zoo.core.files.checkpoint.unsound import UnsoundError
from zoo.core.files.checkpoint.wire import BYTES, FIXED32, FIXED64, Field, Wire, signed
from zoo.core.files.safetensors_file import MAX_RANK, open_regular
from zoo.core.files.stored_tensor import Region
from zoo.core.files.tensor_names import UNNAMED_WEIGHT

_MAX_TENSORS = 100_000
_MAX_NAME = 1 << 16
_MAX_TEXT = 1 << 24
_MAX_LISTED = 1 << 20
"""The most numbers of a tensor that are stored one by one, as small constants are."""


class _Model:
    """Numbers of fields in a model."""

    IR_VERSION, PRODUCER, GRAPH, OPSET, METADATA = 1, 2, 7, 8, 14


class _Graph:
    NODE, INITIALIZER, INPUT, OUTPUT, SPARSE = 1, 5, 11, 12, 15


class _Node:
    INPUT, OUTPUT, NAME, KIND, ATTRIBUTE, METADATA = 1, 2, 3, 4, 5, 9


class _Tensor:
    DIMS, TYPE, SEGMENT, NAME, EXTERNAL, LOCATION = 1, 2, 3, 8, 13, 14
    FLOATS, INTS, LONGS, RAW, DOUBLES, UNSIGNED = 4, 5, 7, 9, 10, 11


_ELSEWHERE = 1
"""The location of a tensor whose data are in another file."""
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
}  # fmt: skip


class _External(NamedTuple):
    location: str
    offset: int
    length: int | None


def _as_parameter(tensor: NumpyArray, found: Found) -> NumpyArray:
    """An initialiser in the shape of its parameter."""
    if found.transposed:
        return NumpyArray(tensor.dtype, tensor.shape[::-1], tensor.data, fortran=True)
    if found.flat:
        return NumpyArray(tensor.dtype, (prod(tensor.shape),), tensor.data)
    return tensor


def _may_be_weight(tensor: NumpyArray) -> bool:
    return tensor.dtype is not None and tensor.dtype.is_floating and sum(size > 1 for size in tensor.shape) > 1


def read_onnx(whole: Region, resources: ExitStack) -> Contents:
    """The initialisers of a model by name. Raises UnsoundError."""
    return _Reader(whole, resources).read()


class _Reader:
    def __init__(self, whole: Region, resources: ExitStack) -> None:
        self._whole, self._resources = whole, resources
        self._wire = Wire()
        # In the Hub's cache a model is a link to a blob, and so are the files beside it.
        self._folder = os.path.dirname(os.path.abspath(whole.path))
        self._allowed = (os.path.realpath(self._folder), os.path.dirname(os.path.realpath(whole.path)))
        self._opened: dict[str, Region] = {}

    def read(self) -> Contents:
        graphs: list[Region] = []
        metadata: dict[str, str] = {}
        facts: dict[str, Any] = {"opset": {}}
        for field in self._wire.fields(self._whole):
            if field.number == _Model.GRAPH and field.kind == BYTES:
                graphs.append(field.data)
            elif field.number == _Model.IR_VERSION:
                facts["ir_version"] = field.value
            elif field.number == _Model.PRODUCER:
                facts["producer"] = self._wire.text(field, _MAX_NAME)
            elif field.number == _Model.OPSET and field.kind == BYTES:
                domain, version = self._pair(field.data)
                facts["opset"][domain or "ai.onnx"] = version
            elif field.number == _Model.METADATA and field.kind == BYTES:
                key, text = self._entry(field.data)
                metadata[key] = text
        if len(graphs) != 1:
            raise UnsoundError(f"it should have one graph, found {len(graphs)}")
        tensors, inputs, outputs, nodes, sparse = self._graph(graphs[0])
        # Models of before 2019 list their initialisers among the inputs.
        facts["inputs"] = [row for row in inputs if row["name"] not in tensors]
        facts["outputs"] = outputs
        kept = {name: tensor for name, tensor in tensors.items() if not is_made_name(name)}
        is_ours = facts.get("producer") == "zoo"  # whose parameters all have their names
        named = {} if is_ours else self._named(nodes, tensors)
        kept = {name: tensor for name, tensor in kept.items() if not name.endswith(FOLDED_BIAS)}
        kept |= {name: _as_parameter(tensors[found.initialiser], found) for name, found in named.items()}
        used = kept.keys() | {found.initialiser for found in named.values()}
        skipped = [
            (name, UNNAMED_WEIGHT if _may_be_weight(tensor) and not is_ours else "a constant of the graph")
            for name, tensor in tensors.items()
            if name not in used
        ]
        if not kept:
            kept, skipped = tensors, []
        skipped += [(f"sparse initialiser {number}", "a sparse tensor") for number in range(sparse)]
        return Contents(
            "onnx",
            kept,
            {},
            metadata=metadata,
            graph=facts,
            skipped=tuple(skipped),
            backing=sum(region.length for region in self._opened.values()),
            files=tuple((region.path, region.fd) for region in self._opened.values()),
        )

    def _graph(
        self, graph: Region
    ) -> tuple[dict[str, NumpyArray], list[dict[str, Any]], list[dict[str, Any]], list[Region], int]:
        tensors: dict[str, NumpyArray] = {}
        inputs, outputs, nodes, sparse = [], [], list[Region](), 0
        for field in self._wire.fields(graph):
            if field.kind != BYTES:
                continue
            if field.number == _Graph.INITIALIZER:
                name, tensor = self._tensor(field.data)
                if name in tensors:
                    raise UnsoundError(f"it has two initialisers called {name[:80]!r}")
                if len(tensors) == _MAX_TENSORS:
                    raise UnsoundError(f"it has more than {_MAX_TENSORS} initialisers", "")
                tensors[name] = tensor
            elif field.number == _Graph.INPUT:
                inputs.append(self._value(field.data))
            elif field.number == _Graph.OUTPUT:
                outputs.append(self._value(field.data))
            elif field.number == _Graph.NODE:
                nodes.append(field.data)
            elif field.number == _Graph.SPARSE:
                sparse += 1
        return tensors, inputs, outputs, nodes, sparse

    # ------------------------------------------------------------ operations

    def _named(self, nodes: list[Region], tensors: Mapping[str, NumpyArray]) -> dict[str, Found]:
        """The parameters that have lost their names, by the operations that use them."""
        return parameters_of(map(self._node, nodes), {name: tensor.shape for name, tensor in tensors.items()})

    def _node(self, message: Region) -> Node:
        kind = name = scopes = ""
        inputs, outputs, transposes = list[str](), list[str](), False
        for field in self._wire.fields(message):
            match field.number:
                case _Node.INPUT:
                    inputs.append(self._wire.text(field, _MAX_NAME))
                case _Node.OUTPUT:
                    outputs.append(self._wire.text(field, _MAX_NAME))
                case _Node.NAME:
                    name = self._wire.text(field, _MAX_NAME)
                case _Node.KIND:
                    kind = self._wire.text(field, _MAX_NAME)
                case _Node.ATTRIBUTE if field.kind == BYTES and kind in ("", "Gemm"):
                    transposes |= self._is_set(field.data, "transB")
                case _Node.METADATA if field.kind == BYTES:
                    key, text = self._entry(field.data, only=SCOPES)
                    scopes = text if key == SCOPES else scopes
        return Node(kind, name, tuple(inputs), tuple(outputs), scopes, transposes)

    def _is_set(self, attribute: Region, wanted: str) -> bool:
        name, value = "", 0
        for field in self._wire.fields(attribute):
            if field.number == 1:
                name = self._wire.text(field, _MAX_NAME)
            elif field.number == 3:
                value = field.value
        return name == wanted and value != 0

    # ------------------------------------------------------------ tensors

    def _tensor(self, message: Region) -> tuple[str, NumpyArray]:
        name, kind, dims, external, in_another_file = "", 0, list[int](), dict[str, str](), False
        data: list[Field] = []
        for field in self._wire.fields(message):
            match field.number:
                case _Tensor.DIMS:
                    dims += self._wire.numbers(field, MAX_RANK)
                case _Tensor.TYPE:
                    kind = field.value
                case _Tensor.NAME:
                    name = self._wire.text(field, _MAX_NAME)
                case _Tensor.EXTERNAL if field.kind == BYTES:
                    key, text = self._entry(field.data)
                    external[key] = text
                case _Tensor.LOCATION:
                    in_another_file = field.value == _ELSEWHERE
                case _Tensor.SEGMENT:
                    raise UnsoundError("it has a tensor in segments, which no program writes")
                case _Tensor.FLOATS | _Tensor.INTS | _Tensor.LONGS | _Tensor.RAW | _Tensor.DOUBLES | _Tensor.UNSIGNED:
                    data.append(field)
        if not name:
            raise UnsoundError("it has an initialiser without a name")
        if len(dims) > MAX_RANK or any(signed(size) < 0 for size in dims):
            raise UnsoundError(f"its initialiser {name[:80]!r} has a shape that is no list of up to {MAX_RANK} sizes")
        dtype = TORCH_DTYPES.get(_TYPES.get(kind, ""), ElementType(f"ONNX type {kind}", 0))
        shape = tuple(dims)
        if not dtype.size:
            raise UnsoundError(f"its initialiser {name[:80]!r} is of ONNX's type {kind}, which zoo does not read", "")
        expected = prod(shape) * dtype.size
        found = self._elsewhere(name, external, expected) if in_another_file else self._here(name, data, dtype)
        length = found.length if isinstance(found, Region) else len(found)
        if length != expected:
            raise UnsoundError(
                f"its initialiser {name[:80]!r} should be {list(shape)} of {dtype.name}, that is {expected} bytes, "
                f"found {length}"
            )
        return name, NumpyArray(dtype, shape, found)

    def _here(self, name: str, data: list[Field], dtype: ElementType) -> Region | bytes:
        """The bytes of a tensor in the model's own file: as they are, packed, or number by number."""
        if not data:
            return b""
        first = data[0]
        if len(data) == 1 and first.kind == BYTES and first.number in (_Tensor.RAW, _Tensor.FLOATS, _Tensor.DOUBLES):
            return first.data
        if any(field.number != first.number for field in data) or first.number == _Tensor.RAW:
            raise UnsoundError(f"its initialiser {name[:80]!r} has its numbers in two ways")
        values: list[int] = []
        width = dtype.size
        for field in data:
            if field.number in (_Tensor.FLOATS, _Tensor.DOUBLES) and field.kind == BYTES:
                raise UnsoundError(f"its initialiser {name[:80]!r} has its numbers in pieces")
            if field.kind in (FIXED32, FIXED64):
                width = 4 if field.kind == FIXED32 else 8
                values.append(field.value)
            else:
                values += self._wire.numbers(field, _MAX_LISTED)
            if len(values) > _MAX_LISTED:
                raise UnsoundError(f"its initialiser {name[:80]!r} lists more than {_MAX_LISTED} numbers", "")
        limit = (1 << 8 * width) - 1
        return b"".join((value & limit).to_bytes(width, "little") for value in values)

    def _elsewhere(self, name: str, entries: Mapping[str, str], expected: int) -> Region:
        """The bytes of a tensor in another file, which must be in the model's folder."""
        location = entries.get("location", "")
        numbers = [entries.get(key, default) for key, default in (("offset", "0"), ("length", str(expected)))]
        if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in numbers):
            raise UnsoundError(f"its initialiser {name[:80]!r} is at a place that is no number")
        offset, length = map(int, numbers)
        file = self._opened.get(location) or self._open(name, location)
        if offset + length > file.length:
            raise UnsoundError(
                f"its initialiser {name[:80]!r} reaches beyond {location[:80]!r}, which ends at byte {file.length}"
            )
        return file._replace(offset=offset, length=length)

    def _open(self, name: str, location: str) -> Region:
        given = os.path.join(self._folder, location)
        path = given if "\0" in location else os.path.realpath(given)
        inside = any(path.startswith(f"{folder.rstrip('/')}/") for folder in self._allowed)
        if "\0" in location or os.path.isabs(location) or ".." in location.split("/") or not location or not inside:
            raise UnsoundError(
                f"its initialiser {name[:80]!r} is said to be in {location[:80]!r}, outside the model's folder",
                "Put the file with the weights beside the model, and have the model written anew.",
            )
        try:
            fd = open_regular(path)
        except ZooError as error:
            raise UnsoundError(
                f"its weights are in {location[:80]!r}, which cannot be read: {error.message.rstrip('.')}",
                "Bring the file that belongs to the model beside it.",
            ) from None
        self._resources.callback(os.close, fd)
        self._opened[location] = region = Region(fd, 0, os.fstat(fd).st_size, path)
        return region

    # ------------------------------------------------------------ inputs, outputs, metadata

    def _value(self, message: Region) -> dict[str, Any]:
        """Name, dtype and shape of an input or output; open dimensions are names, or "?"."""
        row: dict[str, Any] = {"name": "", "dtype": "", "shape": []}
        for field in self._wire.fields(message):
            if field.number == 1:
                row["name"] = self._wire.text(field, _MAX_NAME)
            elif field.number == 2 and field.kind == BYTES:
                for kind in self._wire.fields(field.data):
                    if kind.number == 1 and kind.kind == BYTES:
                        row |= self._tensor_type(kind.data)
        return row

    def _tensor_type(self, message: Region) -> dict[str, Any]:
        dtype, shape = "", list[int | str]()
        for field in self._wire.fields(message):
            if field.number == 1:
                dtype = _TYPES.get(field.value, f"ONNX type {field.value}")
            elif field.number == 2 and field.kind == BYTES:
                for dimension in self._wire.fields(field.data):
                    if dimension.number == 1 and dimension.kind == BYTES and len(shape) < MAX_RANK:
                        shape.append(self._dimension(dimension.data))
        return {"dtype": dtype, "shape": shape}

    def _dimension(self, message: Region) -> int | str:
        found: int | str = "?"
        for field in self._wire.fields(message):
            if field.number == 1:
                found = signed(field.value)
            elif field.number == 2:
                found = self._wire.text(field, _MAX_NAME) or "?"
        return found

    def _entry(self, message: Region, *, only: str = "") -> tuple[str, str]:
        """Key and value; without the value if the key is not `only`."""
        key = text = ""
        for field in self._wire.fields(message):
            if field.number == 1:
                key = self._wire.text(field, _MAX_NAME)
            elif field.number == 2 and only in ("", key):
                text = self._wire.text(field, _MAX_TEXT)
        return key, text

    def _pair(self, message: Region) -> tuple[str, int]:
        domain, version = "", 0
        for field in self._wire.fields(message):
            if field.number == 1:
                domain = self._wire.text(field, _MAX_NAME)
            elif field.number == 2:
                version = signed(field.value)
        return domain, version
