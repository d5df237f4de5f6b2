"""Read the index of a sharded checkpoint from an untrusted file. Standard library only.

Format: `<name>.safetensors.index.json` or `<name>.bin.index.json`, {"metadata": {...}, "weight_map": {tensor: file}}
(https://huggingface.co/docs/huggingface_hub/package_reference/serialization).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.file_kind import FileKind
from zoo.core.files.safetensors_file import MAX_HEADER, no_weight_file

INDEX_ENDING = ".index.json"
MAX_SHARDS = 1000


class ShardIndex(NamedTuple):
    """An index: its path, the shards' paths sorted by name, and the tensors of each shard."""

    path: str
    paths: dict[str, str]
    tensors: dict[str, frozenset[str]]

    def require(self, shard: str, found: Collection[str]) -> None:
        """Raise InvalidInputError if a shard does not hold exactly the tensors that the index lists."""
        if wrong := sorted(self.tensors[shard] ^ set(found)):
            where = "holds" if wrong[0] in found else "does not hold"
            raise _invalid(self.path, f"{shard} {where} {wrong[0][:80]!r}, which contradicts the index")


def read_index(path: str | os.PathLike[str], max_size: int = MAX_HEADER, kind: FileKind | None = None) -> ShardIndex:
    """Read a shard index; the shards must be in its folder.

    Args:
        path: the index.
        max_size: limit in bytes.
        kind: the file's format, if its name does not say that it is an index; used for the error if it is not one.

    Raises:
        NotFoundError: there is no such index.
        InvalidInputError: it is unsound, or shards are missing or too many.
    """
    given = os.fspath(path)
    weight_map = _weight_map(given, max_size, kind)
    names = sorted(set(weight_map.values()))
    paths = {name: _shard_path(given, name) for name in names}
    _require_no_others(given, names)
    tensors: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        tensors.setdefault(name, set()).add(tensor)
    return ShardIndex(given, paths, {name: frozenset(held) for name, held in tensors.items()})


def _weight_map(path: str, max_size: int, kind: FileKind | None) -> dict[str, str]:
    if not os.path.isfile(path):
        raise NotFoundError(f"There is no file {path}.", path=path)
    if os.path.getsize(path) > max_size:
        if kind is not None:
            raise no_weight_file(path, kind._replace(reader=""))
        raise _invalid(path, f"it takes {os.path.getsize(path)} bytes, over the limit of {max_size}")
    try:
        with open(path, encoding="utf-8") as file:
            index: Any = json.load(file)
    except (ValueError, RecursionError):
        if kind is not None:
            raise no_weight_file(path, kind._replace(reader="")) from None
        raise _invalid(path, "it is not JSON") from None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if kind is not None and weight_map is None:
        raise no_weight_file(path, kind._replace(reader=""))
    if not isinstance(weight_map, dict) or not weight_map:
        raise _invalid(path, "it has no weight_map")
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise _invalid(path, "its weight_map does not name files")
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise _invalid(path, f"it names more than {MAX_SHARDS} files")
    return weight_map


def _shard_path(index: str, name: str) -> str:
    """The path of a shard in the index's folder, following links (the Hub cache links both to one folder)."""
    if not re.fullmatch(r"[^/\\\0]+", name) or name in (".", "..") or not name.isprintable():
        raise _invalid(index, f"it names {name[:80]!r}, which is not the name of a file in the same folder")
    path = os.path.join(os.path.dirname(index), name)
    if not os.path.exists(path):
        raise _invalid(index, f"the file {name[:80]} is missing", "Download it again.")
    folders = {os.path.realpath(os.path.dirname(index) or "."), os.path.dirname(os.path.realpath(index))}
    if os.path.dirname(os.path.realpath(path)) not in folders:
        raise _invalid(index, f"{name[:80]} is a link that leads elsewhere")
    return path


def _require_no_others(index: str, names: list[str]) -> None:
    """Refuse a shard that the index does not name: one of the two is from a different checkpoint."""
    stem, ending = os.path.splitext(os.path.basename(index).removesuffix(INDEX_ENDING))
    pattern = re.compile(rf"{re.escape(stem)}-\d+-of-\d+{re.escape(ending)}")
    others = sorted(n for n in os.listdir(os.path.dirname(index) or ".") if pattern.fullmatch(n) and n not in names)
    if others:
        raise _invalid(index, f"it does not name {others[0][:80]}, which lies in the same folder")


def _invalid(path: str, what: str, hint: str = "") -> InvalidInputError:
    return InvalidInputError(f"{path} is not a sound index of shards: {what}.", hint=hint, path=path)
