"""Any checkpoint as stored tensors: the format is told by the bytes, and none needs torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.safetensors_file import MAX_HEADER, open_regular, read_header, require_unchanged, sniff, stamp_of
from zoo.core.stored_tensor import Region, StoredTensor
from zoo.weights_cache.checkpoint.contents import Contents
from zoo.weights_cache.checkpoint.legacy import read_pickles, read_tar
from zoo.weights_cache.checkpoint.state_dict import find_state_dict
from zoo.weights_cache.checkpoint.strided import dense, view_of
from zoo.weights_cache.checkpoint.torch_pickle import NumpyArray, PickledTensor
from zoo.weights_cache.checkpoint.torch_zip import read_zip
from zoo.weights_cache.checkpoint.unsound import UnsoundError

MAX_GROWTH = 4
"""How much larger the tensors may be than the file: views of one storage can be many."""
_SLACK = 1 << 20


class Checkpoint(NamedTuple):
    """An open checkpoint: its tensors by name in their order, and what else was found.

    `format` is "safetensors", "torch zip", "torch legacy", "torch tar", "pickle" or "npz". `wrapper` is the path of
    keys to the state dict, `prefix` what wrappers had put before the names. `skipped` lists what is no part of it:
    path and kind. `aliases` maps the name of a tensor to the first one with the same bytes in the file.
    """

    path: str
    fd: int
    size: int
    format: str
    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]
    wrapper: str
    prefix: str
    skipped: tuple[tuple[str, str], ...]
    aliases: dict[str, str]
    stamp: tuple[int, int]

    def require_unchanged(self) -> None:
        """Raises InvalidInputError where somebody wrote to the file since it was opened."""
        require_unchanged(self.path, self.fd, self.stamp)


@contextmanager
def open_checkpoint(
    path: str | os.PathLike[str],
    *,
    use_ema: bool = True,
    max_bytes: int | None = None,
    max_header: int = MAX_HEADER,
) -> Iterator[Checkpoint]:
    """Open a safetensors file, a torch checkpoint, or an archive of numpy arrays.

    Nothing in it is executed. Tensors that lie densely in the file are regions of it; nothing of them is read but the
    arrays of an npz, whose checksums are compared.

    Args:
        path: the file.
        use_ema: prefer the averaged weights where a training checkpoint holds both.
        max_bytes: the most that all tensors may take; by default MAX_GROWTH times the file.
        max_header: limit in bytes of a safetensors header.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: damaged, hostile, another format, or no dense tensors in it.
    """
    given = os.fspath(path)
    with ExitStack() as resources:
        fd = open_regular(given)
        resources.callback(os.close, fd)
        info = os.fstat(fd)
        whole = Region(fd, 0, info.st_size, given)
        kind = sniff(os.pread(fd, 512, 0))
        try:
            contents = _contents(kind, whole, max_header, resources)
            found = find_state_dict(contents.value, _is_tensor, use_ema=use_ema)
            if found.twice:
                raise UnsoundError(f"holds {found.twice!r} twice, with and without a prefix", "", whole=True)
            if not found.tensors:
                raise UnsoundError("should hold a state dict, found no tensor in it", "", whole=True)
            limit = max_bytes if max_bytes is not None else MAX_GROWTH * (info.st_size + contents.backing) + _SLACK
            tensors, aliases = _stored(found.tensors, contents, limit)
        except UnsoundError as error:
            raise _invalid(given, kind, error) from error
        yield Checkpoint(
            path=given,
            fd=fd,
            size=info.st_size,
            format=contents.format,
            tensors=tensors,
            metadata=contents.metadata,
            wrapper=found.wrapper,
            prefix=found.prefix,
            skipped=found.skipped,
            aliases=aliases,
            stamp=stamp_of(info),
        )


def _contents(kind: str, whole: Region, max_header: int, resources: ExitStack) -> Contents:
    match kind:
        case "a torch or zip file":
            return read_zip(whole, resources)
        case "a pickle":
            return read_pickles(whole)
        case "a tar archive":
            return read_tar(whole)
    tensors, metadata = read_header(whole.path, whole.fd, max_header)
    return Contents("safetensors", tensors, {}, metadata=metadata)


def _is_tensor(value: Any) -> bool:
    if isinstance(value, NumpyArray):
        return value.dtype is not None and value.dtype.size > 0  # not of text, dates or objects
    return isinstance(value, StoredTensor | PickledTensor)


def _stored(found: dict[str, Any], contents: Contents, limit: int) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """The tensors with where their bytes are, and which of them are another once more."""
    tensors: dict[str, StoredTensor] = {}
    aliases: dict[str, str] = {}
    first: dict[Any, str] = {}
    total = 0
    for name, value in found.items():
        if isinstance(value, StoredTensor):
            tensors[name] = value._replace(name=name)
            continue
        view = view_of(name, value, contents)
        total += view.nbytes
        if total > limit:
            raise UnsoundError(f"its tensors would take more than {limit} bytes, far more than the file", "")
        if isinstance(view.source, Region) and view.nbytes:
            original = first.setdefault(view, name)
            if original != name:
                aliases[name] = original
        tensors[name] = dense(name, view)
    return tensors, aliases


def _invalid(path: str, kind: str, error: UnsoundError) -> InvalidInputError:
    if error.whole:
        return InvalidInputError(f"{path} {error.what}.", hint=error.hint, path=path)
    kinds = {"a pickle": "pickle", "a tar archive": "tar archive of torch"}
    return InvalidInputError(
        f"{path} is not a sound {kinds.get(kind, 'archive')}: {error.what}.", hint=error.hint, path=path
    )
