"""A checkpoint in several safetensors files with an index, read with suspicion. Standard library only.

Format: `<name>.safetensors.index.json` holds {"metadata": {...}, "weight_map": {tensor: file}}
(https://huggingface.co/docs/huggingface_hub/package_reference/serialization).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.safetensors_file import MAX_HEADER, SafetensorsFile, open_safetensors
from zoo.core.stored_tensor import StoredTensor

INDEX_ENDING = ".safetensors.index.json"
MAX_SHARDS = 1000


class ShardedFile(NamedTuple):
    """Open, checked shards as one checkpoint; tensors in the order of the index's files, then of their bytes."""

    path: str
    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]
    shards: tuple[SafetensorsFile, ...]

    def require_unchanged(self) -> None:
        """Raises InvalidInputError where somebody wrote to a shard since it was opened."""
        for shard in self.shards:
            shard.require_unchanged()


@contextmanager
def open_sharded(path: str | os.PathLike[str], max_header: int = MAX_HEADER) -> Iterator[ShardedFile]:
    """Open an index and all its shards, which must lie beside it and hold exactly the tensors that it says.

    Raises:
        NotFoundError: there is no such index.
        InvalidInputError: index or shards are unsound, or do not fit each other.
    """
    given = os.fspath(path)
    weight_map = _weight_map(given, max_header)
    names = sorted(set(weight_map.values()))
    paths = [_shard_path(given, name) for name in names]
    _require_no_others(given, names)
    with ExitStack() as stack:
        shards = tuple(stack.enter_context(open_safetensors(shard, max_header)) for shard in paths)
        tensors: dict[str, StoredTensor] = {}
        metadata: dict[str, str] = {}
        for name, shard in zip(names, shards, strict=True):
            expected = {tensor for tensor, file in weight_map.items() if file == name}
            if expected != shard.tensors.keys():
                wrong = sorted(expected ^ shard.tensors.keys())[0]
                where = "holds" if wrong in shard.tensors else "does not hold"
                raise _invalid(given, f"{name[:80]} {where} {wrong[:80]!r}, other than the index says")
            tensors |= shard.tensors
            metadata |= shard.metadata
        yield ShardedFile(given, tensors, metadata, shards)


def _weight_map(path: str, max_size: int) -> dict[str, str]:
    if not os.path.isfile(path):
        raise NotFoundError(f"There is no file {path}.", path=path)
    if os.path.getsize(path) > max_size:
        raise _invalid(path, f"it takes {os.path.getsize(path)} bytes, over the limit of {max_size}")
    try:
        with open(path, encoding="utf-8") as file:
            index: Any = json.load(file)
    except (ValueError, RecursionError):
        raise _invalid(path, "it is not JSON") from None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise _invalid(path, "it has no weight_map")
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise _invalid(path, "its weight_map does not name files")
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise _invalid(path, f"it names more than {MAX_SHARDS} files")
    return weight_map


def _shard_path(index: str, name: str) -> str:
    """Where a shard is; it must be beside the index, links followed (the Hub cache links both to one folder)."""
    if not re.fullmatch(r"[^/\\\0]+", name) or name in (".", "..") or not name.isprintable():
        raise _invalid(index, f"it names {name[:80]!r}, which is not the name of a file beside it")
    path = os.path.join(os.path.dirname(index), name)
    if not os.path.exists(path):
        raise _invalid(index, f"the file {name[:80]} is missing", "Download it again.")
    folders = {os.path.realpath(os.path.dirname(index) or "."), os.path.dirname(os.path.realpath(index))}
    if os.path.dirname(os.path.realpath(path)) not in folders:
        raise _invalid(index, f"{name[:80]} is a link that leads elsewhere")
    return path


def _require_no_others(index: str, names: list[str]) -> None:
    """A shard that the index does not name means that one of them is from another checkpoint."""
    stem = os.path.basename(index).removesuffix(INDEX_ENDING)
    pattern = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.safetensors")
    others = sorted(n for n in os.listdir(os.path.dirname(index) or ".") if pattern.fullmatch(n) and n not in names)
    if others:
        raise _invalid(index, f"it does not name {others[0][:80]}, which lies beside it")


def _invalid(path: str, what: str, hint: str = "") -> InvalidInputError:
    return InvalidInputError(f"{path} is not a sound index of shards: {what}.", hint=hint, path=path)
