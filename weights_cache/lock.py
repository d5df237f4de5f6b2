"""A lock file: it fixes the exact bytes behind names, so that another machine gets the same ones on any day.

It is one JSON object, sorted, without times:

    {"zoo_lock": 1, "weights": {"resnet34.a1_in1k": {"source": "hf-hub:timm/resnet34.a1_in1k", "revision": "<commit>",
     "file": "model.safetensors", "size": 87275112, "sha256": "<64 hex digits>"}}}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from zoo.core.architectures.hub_names import hub_id_of, plain_name
from zoo.core.architectures.published import find_cfg
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.architectures.registry import require_weights
from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.files.checksum import file_sha256
from zoo.core.files.json_file import read_json_object
from zoo.weights_cache.download import WeightFile, fetch
from zoo.weights_cache.hub_layout import MAX_SIZE, is_sha256, set_branch
from zoo.weights_cache.locate import COMMIT, HubFile, PackageFile, UrlFile, hub_file, is_inside, locate
from zoo.weights_cache.offline import is_offline
from zoo.weights_cache.time_limit import default_timeout

VERSION = 1
MAX_WEIGHTS = 4096
_HUB, _PACKAGE = "hf-hub:", "package:"
_REPO_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*/[A-Za-z0-9_-][A-Za-z0-9._-]*")
_FIELDS = {"source", "revision", "file", "size", "sha256"}


class LockedWeights(NamedTuple):
    """The one file that a name stands for.

    `source` is `hf-hub:owner/name`, `package:<import name>` or an https URL. `revision` is the commit of a Hub
    repository, '' for other sources. `file` is the name within the source, `size` is in bytes, and `sha256` is in
    lower-case hex.
    """

    source: str
    revision: str
    file: str
    size: int
    sha256: str

    @property
    def repo_id(self) -> str:
        """`owner/name` on the Hub, '' for other sources."""
        return self.source.removeprefix(_HUB) if self.source.startswith(_HUB) else ""

    @property
    def cacheable(self) -> bool:
        """Whether the file is stored in a cache, not in an installed package."""
        return not self.source.startswith(_PACKAGE)

    def cfg(self, name: str) -> PretrainedCfg:
        """Return a config named `name.tag` that stands for exactly this file."""
        architecture, _, tag = name.partition(".")
        cfg = PretrainedCfg(architecture=architecture, tag=tag, sha256=self.sha256)
        if self.repo_id:
            return replace(cfg, hf_hub_id=f"{self.repo_id}@{self.revision}", hf_hub_filename=self.file)
        if not self.cacheable:
            return replace(cfg, package=f"{self.source.removeprefix(_PACKAGE)}:{self.file}")
        return replace(cfg, url=self.source)


Lock = dict[str, LockedWeights]


def published_cfg(name: str) -> PretrainedCfg:
    """Return the config of weights given as `name`, `name.tag`, `timm/name.tag` or `hf-hub:owner/repo@revision`.

    A Hub repository without a name here, or with a revision, gets a config that is named after it and holds only its
    location.

    Raises NotFoundError.
    """
    name = plain_name(name)
    hub_id = hub_id_of(name)
    if hub_id:
        return PretrainedCfg(architecture=_HUB + hub_id, hf_hub_id=hub_id)
    cfg = find_cfg(name)
    require_weights(cfg)
    return cfg


def lock_weights(names: Sequence[str]) -> Lock:
    """Lock the current weights of names, by reading the cache, asking the Hub or downloading, in this order.

    Raises as `fetch`.
    """
    cfgs = [published_cfg(name) for name in names]
    return {cfg.name: _lock_one(cfg) for cfg in sorted(cfgs, key=lambda cfg: cfg.name)}


def _lock_one(cfg: PretrainedCfg) -> LockedWeights:
    source = locate(cfg)
    if isinstance(source, HubFile) and source.cached() is None and not is_offline():
        from zoo.weights_cache.hub import hub_lookup

        answer = hub_lookup(source, timeout=default_timeout())
        if answer.sha256:
            return LockedWeights(_HUB + source.repo_id, answer.revision, answer.filename, answer.size, answer.sha256)
    path = fetch(cfg, progress=False).path
    size, digest = path.stat().st_size, file_sha256(path)
    if isinstance(source, HubFile):
        commit = source.cached_revision()
        assert commit is not None  # it was just fetched
        name = path.relative_to(source.folder / "snapshots" / commit).as_posix()
        return LockedWeights(_HUB + source.repo_id, commit, name, size, digest)
    if isinstance(source, PackageFile):
        return LockedWeights(_PACKAGE + source.package, "", cfg.package.partition(":")[2], size, digest)
    assert isinstance(source, UrlFile)  # published weights have no other source
    return LockedWeights(source.public_url, "", source.filename, size, digest)


def fetch_locked(name: str, locked: LockedWeights, *, fresh: bool = False, progress: bool | None = None) -> WeightFile:
    """Return exactly the file that a lock names, from the cache or from its source.

    If the cache has no `main` for a Hub repository (or no branch that the name asks for), it is set to this revision,
    so that the name finds this file.

    Raises as `fetch`, and InvalidInputError if the source does not give these bytes.
    """
    cfg = locked.cfg(name)
    found = fetch(cfg, fresh=fresh, progress=progress)
    size = found.path.stat().st_size
    if size != locked.size:
        raise InvalidInputError(
            f"{name} should have {locked.size} bytes by the lock, found {size} in {found.path}.", path=str(found.path)
        )
    source = locate(cfg)
    if isinstance(source, HubFile):
        set_branch(source.folder, asked_branch(name, locked), locked.revision)
    return found


def asked_branch(name: str, locked: LockedWeights) -> str:
    """Return the branch, tag or commit that a name asks for: `v1` for `hf-hub:owner/repo@v1`, else `main`."""
    hub_id = hub_id_of(name)
    repo_id, _, revision = hub_id.partition("@")
    return hub_file(hub_id).revision if revision and repo_id == locked.repo_id else "main"


def locked_entry(lock: Lock, name: str) -> tuple[str, LockedWeights]:
    """Return the full name and the entry of `name` or `name.tag`. Raises NotFoundError."""
    full = name if name in lock else published_cfg(name).name
    if full not in lock:
        raise NotFoundError(f"The lock has no weights {full}.", hint=f"It has: {', '.join(lock) or 'none'}.")
    return full, lock[full]


def chosen_lock(names: Sequence[str], path: str | os.PathLike[str] | None) -> Lock:
    """Return the named entries of a lock file, or all if `names` is empty; without a file, lock the names now.

    Raises UsageError if neither is given; else as `read_lock`, `locked_entry` and `lock_weights`.
    """
    if path is None:
        if not names:
            raise UsageError("No weights are named.", hint="Give NAME.TAG, or a file of `zoo lock` with --locked.")
        return lock_weights(names)
    lock = read_lock(path)
    return dict(sorted(locked_entry(lock, name) for name in names)) if names else lock


# ---------------------------------------------------------------- the file


def lock_bytes(lock: Lock) -> bytes:
    """Return the file content of a lock; the same lock always gives the same bytes."""
    weights = {
        name: {field: value for field, value in locked._asdict().items() if value != ""}
        for name, locked in lock.items()
    }
    return (json.dumps({"zoo_lock": VERSION, "weights": weights}, indent=1, sort_keys=True) + "\n").encode()


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Read the lock in a file and check every value. Raises NotFoundError, InvalidInputError."""
    return parse_lock(read_json_object(path), name=os.fspath(path))


def parse_lock(document: dict[str, Any], *, name: str) -> Lock:
    """Parse an untrusted JSON object as a lock; `name` stands for it in messages. Raises InvalidInputError."""
    weights = document.get("weights")
    if document.get("zoo_lock") != VERSION or not isinstance(weights, dict):
        raise InvalidInputError(
            f"{name} is no zoo lock of version {VERSION}.", hint="Write one with `zoo lock -o zoo.lock NAME.TAG`."
        )
    if len(weights) > MAX_WEIGHTS:
        raise InvalidInputError(f"{name} should lock at most {MAX_WEIGHTS} weights, found {len(weights)}.")
    lock = {}
    for key in sorted(weights):
        locked = _parse_entry(weights[key])
        if locked is None or not _is_name(key, locked):
            raise InvalidInputError(
                f"The entry {key[:80]!r} of {name} is malformed: it should name a source, its revision, a file in it, "
                "a size and a sha256.",
                hint="Write the lock again with `zoo lock`.",
            )
        lock[key] = locked
    return lock


def _is_name(key: str, locked: LockedWeights) -> bool:
    try:
        asked_branch(key, locked)
    except InvalidInputError:  # the name leads out of the repository
        return False
    return key.isprintable()


def _parse_entry(entry: object) -> LockedWeights | None:
    if not isinstance(entry, dict) or {*entry, "revision"} != _FIELDS:
        return None
    size = entry["size"]
    texts = [entry["source"], entry.get("revision", ""), entry["file"], entry["sha256"]]
    if not all(isinstance(text, str) and text.isprintable() and len(text) <= 1024 for text in texts):
        return None
    if type(size) is not int or not 0 <= size <= MAX_SIZE or not entry["file"]:
        return None
    locked = LockedWeights(texts[0], texts[1], texts[2], size, texts[3])
    return locked if is_sha256(locked.sha256) and _names_one_file(locked) else None


def _names_one_file(locked: LockedWeights) -> bool:
    """Whether zoo knows the source and every name stays within it."""
    try:
        if locked.repo_id:
            hub_file(locked.repo_id, locked.file)
            return bool(COMMIT.fullmatch(locked.revision) and _REPO_ID.fullmatch(locked.repo_id))
        if locked.source.startswith(_PACKAGE):
            package = locked.source.removeprefix(_PACKAGE)
            return not locked.revision and package.isidentifier() and is_inside(locked.file)
        from zoo.weights_cache.url import require_safe

        require_safe(locked.source)
        if locked.source != UrlFile(locked.source).public_url:  # a user or a query would put a secret in the file
            return False
        return not locked.revision and UrlFile(locked.source).filename == locked.file
    except (InvalidInputError, ValueError):
        return False
