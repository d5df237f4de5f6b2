"""The meaning of the names in a checkpoint's pickle.

zoo imports and calls nothing that a pickle names. It understands a short list of constructors of plain data and
tensors. An object made without a call, as pickle does for a saved module, becomes a record of its attributes. Any other
call becomes an OpaqueCall, a record of the request, since training programs pickle such things together with the
weights. No tensor is taken from an OpaqueCall; if that would be necessary, the file is refused and the error names the
function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from zoo.core.files.checkpoint.pickle_machine import LongString, OpaqueCall, Record, checked_key
from zoo.core.files.checkpoint.pickled_array import (
    NumpyArray,
    NumpyDtype,
    array_of_buffer,
    decoded_bytes,
    described_dtype,
    fill,
)
from zoo.core.files.checkpoint.torch_dtypes import (
    STORAGE_CLASSES,
    TENSOR_CLASSES,
    TORCH_DTYPES,
    UNTYPED,
    ElementType,
    checked_sizes,
)
from zoo.core.files.checkpoint.unsound import RefusedCallError, UnsoundError, refused

_MAX_OPAQUE = 1000
"""The most uncalled functions that one pickle may ask for; each is reported."""
_PYTHON_2_MODULES = {"__builtin__", "commands", "copy_reg", "exceptions", "popen2", "urllib2", "cPickle"}
_RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core": "numpy.core",
    "torch.tensor": "torch._tensor",
}
"""Older and newer names of a module, and the name used here."""


class Global:
    """A name that a pickle mentions, with its constructor if calls of it are understood."""

    __slots__ = ("construct", "name")

    def __init__(self, name: str, construct: Callable[..., Any] | None = None) -> None:
        self.name, self.construct = name, construct

    @property
    def mentioned(self) -> str:
        """The name, for descriptions of a mapping that holds it."""
        return self.name


class Storage:
    """A run of elements outside the pickle: its key, type and count, and the first element of a view."""

    __slots__ = ("count", "dtype", "key", "start")

    def __init__(self, key: str, dtype: ElementType, count: int, start: int = 0) -> None:
        self.key, self.dtype, self.count, self.start = key, dtype, count, start


def storage_of(dtype: Any, key: Any, count: Any, start: Any = 0) -> Storage:
    """The storage that a persistent id describes. Raises TypeError or ValueError if it describes none."""
    if not isinstance(dtype, ElementType) or not isinstance(key, str | int):
        raise TypeError("a persistent id that is no storage")
    if type(count) is not int or type(start) is not int or min(start, count) < 0:
        raise ValueError("a storage without a size")
    return Storage(str(key), dtype, count, start)


class PickledTensor:
    """A tensor as a pickle describes it: a strided view of a storage, in elements, not yet validated.

    `layout` is empty for a dense tensor. `negated` and `conjugated` are torch's flags for lazy operations.
    """

    __slots__ = ("conjugated", "dtype", "layout", "negated", "offset", "shape", "storage", "strides")

    def __init__(
        self,
        storage: Storage | None,
        dtype: ElementType,
        offset: int = 0,
        shape: tuple[int, ...] = (),
        strides: tuple[int, ...] = (),
        layout: str = "",
    ) -> None:
        self.storage, self.dtype, self.offset, self.shape, self.strides = storage, dtype, offset, shape, strides
        self.layout, self.negated, self.conjugated = layout, False, False


class TorchVocabulary:
    """The names of torch, numpy and the standard library that checkpoints use.

    Args:
        persistent: returns the object for a persistent id; None refuses all of them, for a file without storages.
        opaque: collects the name of every function that the pickle asks for and zoo does not know, and of everything it
            mentions needlessly in Python's standard library; None refuses all of them.
    """

    def __init__(self, persistent: Callable[[Any], Any] | None = None, opaque: dict[str, None] | None = None) -> None:
        self._persistent, self._opaque = persistent, opaque

    def find(self, module: str, name: str) -> Any:
        full = f"{_renamed(module)}.{name}"
        if full in _CONSTRUCTORS:
            return Global(full, _CONSTRUCTORS[full])
        root = module.partition(".")[0]
        if root == "torch":
            if name in TORCH_DTYPES and module == "torch":
                return TORCH_DTYPES[name]
            if name in STORAGE_CLASSES:
                return STORAGE_CLASSES[name]
            if name in TENSOR_CLASSES:
                return Global(full)
        if full in _MENTIONED:
            return Global(full)
        if _is_standard(module):
            self._note(f"{module}.{name}")
            return Global(f"{module}.{name}")
        return Global(full)

    def _note(self, name: str) -> None:
        if self._opaque is None:
            raise refused(name)
        self._opaque[name] = None
        if len(self._opaque) > _MAX_OPAQUE:
            raise UnsoundError(
                f"its pickle asks for more than {_MAX_OPAQUE} functions that a state dict has no need of"
            )

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if not isinstance(function, Global) or function.construct is None:
            if isinstance(function, Global) and not arguments and not _is_standard(function.name):
                return Record(function.name)  # an object of a dictionary's subclass, filled afterwards
            return self._not_made(_name_of(function), arguments)
        if self._opaque is None:
            return function.construct(*arguments)
        try:
            return function.construct(*arguments)
        except RefusedCallError as error:
            return self._not_made(error.name, arguments)
        except (TypeError, ValueError, AttributeError, LookupError):
            if not any(isinstance(argument, OpaqueCall | LongString) for argument in arguments):
                raise
            return self._not_made(function.name, arguments)

    def _not_made(self, name: str, arguments: tuple[Any, ...]) -> OpaqueCall:
        self._note(name)
        return OpaqueCall(name, arguments)

    def create(self, kind: Any, arguments: tuple[Any, ...]) -> Any:
        if isinstance(kind, Global) and kind.name in _PLAIN and kind.construct is not None:
            return self.call(kind, arguments)
        return Record(_name_of(kind), arguments)

    def persistent(self, key: Any) -> Any:
        if self._persistent is None:
            raise UnsoundError("its pickle asks for data that are not in the file")
        return self._persistent(key)

    def build(self, value: Any, state: Any) -> None:
        if isinstance(value, Record):
            value.state = _attributes(state)
        elif isinstance(value, NumpyDtype):
            value.order = state[1] if state[1] in ("<", ">") else "<"
        elif isinstance(value, NumpyArray):
            _, shape, dtype, fortran, data = state
            fill(value, dtype, shape, data, fortran)
        elif not isinstance(value, dict | PickledTensor):  # attributes of these have no use here
            raise TypeError("a state for what has none")


def _renamed(module: str) -> str:
    for old, new in _RENAMED.items():
        if module == old or module.startswith(f"{old}."):
            return new + module[len(old) :]
    return module


def _is_standard(name: str) -> bool:
    root = name.partition(".")[0]
    return root in sys.stdlib_module_names or root in _PYTHON_2_MODULES


def _name_of(value: Any) -> str:
    if isinstance(value, Global):
        return value.name
    if isinstance(value, Record):
        return value.kind
    return f"torch.{value.name}" if isinstance(value, ElementType) else f"a call of {type(value).__name__}"


def _attributes(state: Any) -> Any:
    """The attributes as one dictionary: pickle keeps those in slots separate."""
    if isinstance(state, tuple) and len(state) == 2 and all(isinstance(part, dict | None) for part in state):
        return {**(state[0] or {}), **(state[1] or {})}
    return state


# ---------------------------------------------------------------- tensors


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> PickledTensor:
    """A tensor of `_rebuild_tensor` or `_rebuild_tensor_v2`, whose sixth argument can hold flags."""
    return _strided(storage, storage.dtype, offset, shape, strides, rest[2] if len(rest) > 2 else None)


def _tensor_with_dtype(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, flags: Any = None
) -> PickledTensor:
    return _strided(storage, dtype, offset, shape, strides, flags)


def _strided(storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any, flags: Any) -> PickledTensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, ElementType) or type(offset) is not int:
        raise TypeError("a tensor without a storage")
    tensor = PickledTensor(storage, dtype, offset, checked_sizes(shape), checked_sizes(strides))
    tensor.negated = bool(flags and flags.get("neg"))
    tensor.conjugated = bool(flags and flags.get("conj"))
    return tensor


def _without_values(layout: str, dtype: Any, shape: Any = ()) -> PickledTensor:
    return PickledTensor(None, _element_type(dtype), shape=checked_sizes(shape), layout=layout)


def _quantized(storage: Any, _offset: Any, shape: Any, *_: Any) -> PickledTensor:
    return _without_values("quantized", storage.dtype, shape)


def _sparse(_layout: Any, data: Any) -> PickledTensor:
    values = next((part for part in reversed(data) if isinstance(part, PickledTensor)), None)
    shape = next((part for part in reversed(data) if isinstance(part, tuple)), ())
    return _without_values("sparse", values.dtype if values else UNTYPED, shape)


def _meta(dtype: Any, shape: Any = (), *_: Any) -> PickledTensor:
    return _without_values("meta", dtype, shape)


def _nested(buffer: Any, *_: Any) -> PickledTensor:
    return _without_values("nested", buffer.dtype)


def _subclass(_kind: Any, dtype: Any, shape: Any = (), *_: Any) -> PickledTensor:
    return _without_values("wrapped", dtype, shape)


def _element_type(dtype: Any) -> ElementType:
    if not isinstance(dtype, ElementType):
        raise TypeError("a dtype that is none")
    return dtype


def _first(value: Any, *_: Any) -> Any:
    """A parameter is its tensor; a tensor from a different device is the one it was copied from."""
    return value


def _from_type(function: Any, _kind: Any, arguments: Any, _state: Any) -> Any:
    """The plain tensor of a subclass or of a tensor with attributes."""
    if not isinstance(function, Global) or not function.name.startswith("torch._utils._rebuild_"):
        raise refused(_name_of(function))
    assert function.construct is not None
    return function.construct(*arguments)


# ---------------------------------------------------------------- plain data


def _encoded(text: Any, encoding: str = "utf-8") -> Any:
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise ValueError(f"bytes in {encoding[:20]!r}")
    if isinstance(text, LongString):
        is_latin = encoding.startswith("latin") and text.is_text
        return LongString(text.region, data=decoded_bytes(text)) if is_latin else text
    return text.encode(encoding)


def _bytes(value: Any = b"", encoding: Any = "latin-1") -> Any:
    return _encoded(value, encoding) if isinstance(value, str | LongString) else b"".join([value])


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    return {checked_key(key): value for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


def _reconstructed(kind: Any, _base: Any, _state: Any) -> Record:
    return Record(_name_of(kind))


def _recorded(name: str) -> Callable[..., Record]:
    return lambda *arguments: Record(name, arguments)


_PLAIN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "collections.defaultdict": lambda *_: {},
    "collections.deque": lambda values=(), *_: list(values),
    "builtins.dict": _dictionary,
    "builtins.set": lambda values=(): list(values),
    "builtins.frozenset": lambda values=(): list(values),
    "builtins.list": lambda values=(): list(values),
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": lambda real=0.0, imaginary=0.0: complex(float(real), float(imaginary)),
    "torch.Size": tuple,
    "numpy.ndarray": lambda *_: NumpyArray(),
}
_RECORDED = (
    "argparse.Namespace", "types.SimpleNamespace", "builtins.slice", "builtins.range", "torch.device",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath",
    "pathlib._local.Path", "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    "datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "datetime.timezone",
    "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "numpy.core.multiarray.scalar",
)  # fmt: skip
_MENTIONED = {
    "typing.Any", "builtins.object", "builtins.type", "builtins.int", "builtins.float", "builtins.str",
    "builtins.bool", "builtins.tuple", "builtins.NoneType", "types.NoneType",
}  # fmt: skip
"""Names of the standard library used as a default factory, a base class, or a type in a configuration."""
_CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    **_PLAIN,
    **{name: _recorded(name) for name in _RECORDED},
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _reconstructed,
    "copyreg.__newobj__": lambda kind, *arguments: Record(_name_of(kind), arguments),
    "numpy.dtype": described_dtype,
    "numpy.core.multiarray._reconstruct": lambda *_: NumpyArray(),
    "numpy.core.numeric._frombuffer": array_of_buffer,
    "torch.serialization._get_layout": str,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._utils._rebuild_xla_tensor": _first,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_wrapper_subclass": _subclass,
}
