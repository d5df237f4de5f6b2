"""The only opener of weight files: opens a file, index or folder as tensors, without reading their data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.files.file_kind import HEAD, SAFETENSORS, FileKind, file_kind
from zoo.core.files.safetensors_file import (
    MAX_HEADER,
    no_weight_file,
    open_regular,
    read_header,
    require_unchanged,
    stamp_of,
)
from zoo.core.files.stored_tensor import Region, StoredTensor
from zoo.core.files.tensor_names import UNNAMED_WEIGHT, first_names
from zoo.core.files.weight_folder import existing_weight_file
from zoo.core.files.weight_forms import other_form
from zoo.core.files.wrapper_names import bare_names

if TYPE_CHECKING:
    from zoo.core.files.checkpoint import FoundTensors


class OpenFile(NamedTuple):
    """A file that is open for reading, with a stamp that changes if somebody writes to it."""

    path: str
    fd: int
    size: int
    stamp: tuple[int, int]


class OpenedWeights(NamedTuple):
    """An open weight file.

    Args:
        path: the file; for shards, their index.
        format: "safetensors", "torch zip", "torch legacy", "torch tar", "pickle", "npz", "onnx", "pt2", "keras" or
            "flax msgpack"; for shards prefixed with "sharded".
        tensors: by name, in their order.
        metadata: metadata of safetensors files and graphs.
        files: the open files: one, or the shards sorted by name; of an ONNX model also those that its tensors lie in.
        wrapper: path of keys to the state dict in a training checkpoint, `state_dict.model`; empty if there is none.
        prefix: prefix that wrappers had put before (most of) the names, `module.`.
        wrappers: segments that wrappers had put into the names, now removed.
        skipped: path and kind of everything that does not belong to the state dict.
        opaque: functions that a pickle asks for and that were not called.
        aliases: the name of a tensor -> the first tensor with the same bytes in the file.
        graph: of a graph its `inputs` and `outputs`, each with name, dtype and shape, and versions.
    """

    path: str
    format: str
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]
    files: tuple[OpenFile, ...]
    wrapper: str = ""
    prefix: str = ""
    wrappers: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    opaque: tuple[str, ...] = ()
    aliases: Mapping[str, str] = {}
    graph: Mapping[str, Any] = {}

    @property
    def size(self) -> int:
        """Bytes on disk, summed over all shards."""
        return sum(file.size for file in self.files)

    @property
    def fd(self) -> int:
        """The descriptor of a file that is not an index."""
        return self.files[0].fd

    def sha256(self, stopped: Callable[[], bool] = lambda: False) -> str:
        """Digest of the file; for shards, the digest of their digests, sorted by name, one per line.

        `stopped` says whether the answer is no longer needed.
        """
        from zoo.core.files.checksum import file_sha256

        digests = [file_sha256(file.path, file.fd, stopped) for file in self.files]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()

    def require_unchanged(self) -> None:
        """Raise InvalidInputError if somebody wrote to the file, or to a shard, since it was opened."""
        for file in self.files:
            require_unchanged(file.path, file.fd, file.stamp)

    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the tensors were found, one sentence each."""
        taken = " and ".join(filter(None, (self.prefix, *self.wrappers)))
        return tuple(
            filter(
                None,
                (
                    f"taken off the names, where wrappers had put it: {taken}" if taken else "",
                    _uncalled(self.opaque),
                    _unnamed([name for name, kind in self.skipped if kind == UNNAMED_WEIGHT]),
                    other_form(self.tensors.keys()),
                ),
            )
        )


@contextmanager
def open_weights(
    path: str | os.PathLike[str],
    *,
    use_ema: bool = True,
    key: str = "",
    max_bytes: int | None = None,
    max_header: int = MAX_HEADER,
) -> Iterator[OpenedWeights]:
    """Open a weight file, a shard index, or a folder that holds one; the bytes decide the format, not the name.

    No tensor is read except the arrays of an npz, whose checksums are compared. Nothing in a file is executed.

    Args:
        path: the file, a shard index, or a folder that holds one.
        use_ema: prefer the averaged weights if a training checkpoint holds both.
        key: path of the state dict in a checkpoint: keys joined by dots, numbers for lists; "" finds it.
        max_bytes: the most bytes that the tensors of a file may take as views of stored ones; by default a small
            multiple of the file's size.
        max_header: limit in bytes of a safetensors header, and of an index.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, unsafe or not a weight file, or it is unclear which of its state dicts is
            meant.
    """
    given = os.fspath(existing_weight_file(Path(path))) if os.path.isdir(path) else os.fspath(path)
    with ExitStack() as resources:
        options = _Options(use_ema, key, max_bytes, max_header)
        if given.endswith(".index.json"):
            yield _bare(_open_shards(given, options, resources))
            return
        file, kind = _open_file(given, resources)
        if kind.reader == "index":
            yield _bare(_open_shards(given, options, resources, kind))
        else:
            yield _bare(_read(file, kind, options, resources))


class _Options(NamedTuple):
    use_ema: bool
    key: str
    max_bytes: int | None
    max_header: int


def _open_file(path: str, resources: ExitStack) -> tuple[OpenFile, FileKind]:
    fd = open_regular(path)
    resources.callback(os.close, fd)
    info = os.fstat(fd)
    return OpenFile(path, fd, info.st_size, stamp_of(info)), file_kind(os.pread(fd, HEAD, 0), info.st_size, path)


def _read(file: OpenFile, kind: FileKind, options: _Options, resources: ExitStack) -> OpenedWeights:
    """Open one file; its tensors keep the names in the file."""
    if kind == SAFETENSORS or not kind.reader:
        tensors, metadata = read_header(file.path, file.fd, options.max_header)
        if options.key:
            raise _without_keys(file.path, "a safetensors file")
        return OpenedWeights(file.path, "safetensors", tensors, metadata, (file,))
    if kind.reader == "index":
        raise no_weight_file(file.path, kind)
    from zoo.core.files.checkpoint import find_tensors

    whole = Region(file.fd, 0, file.size, file.path)
    found: FoundTensors = find_tensors(
        whole, kind, resources, use_ema=options.use_ema, key=options.key, max_bytes=options.max_bytes
    )
    return OpenedWeights(
        path=file.path,
        format=found.format,
        tensors=found.tensors,
        metadata=found.metadata,
        files=(file, *(_described(path, fd) for path, fd in found.files)),
        wrapper=found.wrapper,
        skipped=found.skipped,
        opaque=found.opaque,
        aliases=found.aliases,
        graph=found.graph,
    )


def _described(path: str, fd: int) -> OpenFile:
    info = os.fstat(fd)
    return OpenFile(path, fd, info.st_size, stamp_of(info))


def _open_shards(path: str, options: _Options, resources: ExitStack, kind: FileKind | None = None) -> OpenedWeights:
    """Open an index and all its shards, which must hold exactly the tensors that the index lists."""
    from zoo.core.files.shard_index import read_index

    index = read_index(path, options.max_header, kind)
    if options.key:
        raise _without_keys(path, "an index of shards")
    shards = [_read(*_open_file(shard, resources), options, resources) for shard in index.paths.values()]
    tensors: dict[str, StoredTensor] = {}
    metadata: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for name, shard in zip(index.paths, shards, strict=True):
        index.require(name, shard.tensors.keys())
        tensors |= shard.tensors
        metadata |= shard.metadata
        aliases |= shard.aliases
    return OpenedWeights(
        path=path,
        format=f"sharded {shards[0].format}",
        tensors=tensors,
        metadata=metadata,
        files=tuple(file for shard in shards for file in shard.files),
        skipped=tuple((f"{name}: {where}", what) for name, s in zip(index.paths, shards, strict=True)
                      for where, what in s.skipped),
        opaque=tuple(dict.fromkeys(name for shard in shards for name in shard.opaque)),
        aliases=aliases,
    )  # fmt: skip


def _bare(opened: OpenedWeights) -> OpenedWeights:
    """The same weights with wrappers removed from the names."""
    bare = bare_names(opened.tensors)
    if bare.twice:
        raise InvalidInputError(
            f"{opened.path} holds {bare.twice[:80]!r} twice, with and without a prefix.", path=opened.path
        )
    if not (bare.prefix or bare.wrappers) and all(name == given for given, name in bare.names.items()):
        return opened
    of_wrappers = [name for name in opened.tensors if name not in bare.names]
    return opened._replace(
        tensors={name: opened.tensors[given]._replace(name=name) for given, name in bare.names.items()},
        aliases={bare.names[name]: bare.names[first] for name, first in opened.aliases.items()},
        prefix=bare.prefix,
        wrappers=bare.wrappers,
        skipped=(*opened.skipped, *((name, "counter of the wrapper") for name in of_wrappers)),
    )


def _without_keys(path: str, what: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is {what}, which holds one state dict and no keys above it.", hint="Leave --key out.", path=path
    )


def _unnamed(names: list[str]) -> str:
    if not names:
        return ""
    return f"left out, as no layer of the graph names {'it' if len(names) == 1 else 'them'}: {first_names(names)}"


def _uncalled(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"beside the weights its pickle asks for {', '.join(name[:80] for name in names[:3])}{more}; zoo calls nothing,"
        " torch.load with weights_only=False would"
    )
