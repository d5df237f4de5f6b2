"""List the caches that zoo reads: huggingface_hub's (models only), torch.hub's checkpoints, and zoo's own state.

This module imports no library and follows no link. It can therefore list a folder full of rubbish, loops and links to
other folders, and it removes nothing outside the caches.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from zoo.core.errors import CannotWriteError, NotFoundError
from zoo.core.files.atomic_output import cannot_write
from zoo.core.files.checksum import DamagedFileError, hash_in_name, verify, verify_git_blob
from zoo.core.files.user_folders import COMPILED, GRAPHS, existing, hub_cache, state_folder, torch_hub_checkpoints
from zoo.weights_cache.hub_layout import DAMAGED_SUFFIX, INCOMPLETE_SUFFIX, held_lock, is_blob_name, is_sha256, repo_of

Kind = Literal["weights", "outside", "incomplete", "damaged", "unused", "dangling", "state"]
LEFTOVERS = ("incomplete", "damaged", "unused", "dangling")
"""The kinds of file that no program will read again; `prune` removes them."""

_TEMPORARY = re.compile(r"\.zoo-[0-9a-f]{16}\.tmp")
_MAX_DEPTH = 8


class CachedFile(NamedTuple):
    """One file of a cache.

    `cache` is `hub`, `torch` or `zoo`. `name` is a Hub repository or a file name; `file` is the name in the repository;
    `revision` is a commit or ''. `blob` is the file in the cache that `path` links to, else `path`. `size` is that of
    the blob in bytes. `last_used` is in seconds since 1970, as far as the file system records it. `digest` is the hash
    that the content should have, '' if the cache records none.
    """

    cache: str
    kind: Kind
    name: str
    file: str
    revision: str
    path: Path
    blob: Path
    size: int
    last_used: float
    digest: str


def roots() -> dict[str, Path]:
    """Return the folders of the caches by name. Raises NoCacheFolderError if there is none."""
    folders = {"hub": existing(hub_cache), "torch": existing(torch_hub_checkpoints), "zoo": existing(state_folder)}
    known = {name: folder for name, folder in folders.items() if folder is not None}
    if not known:
        hub_cache()  # raises the error that says what to set
    return known


def cached_files() -> list[CachedFile]:
    """Return every file of the caches, sorted, except unreadable ones. Raises NoCacheFolderError."""
    files_of = {"hub": _hub_files, "torch": _torch_files, "zoo": _state_files}
    found = [file for name, root in roots().items() for file in files_of[name](root)]
    return sorted(found, key=lambda file: (file.cache, file.name, file.kind, file.revision, str(file.path)))


def total_size(files: Iterable[CachedFile]) -> int:
    """Return the total bytes of the files; a blob that several revisions share counts once."""
    return sum({file.blob: file.size for file in files}.values())


# ---------------------------------------------------------------- listing


def _hub_files(root: Path) -> Iterator[CachedFile]:
    for folder in _entries(root):
        repo = repo_of(folder.name)
        if repo and folder.is_dir(follow_symlinks=False):
            yield from _repository(Path(folder.path), repo)


def _repository(folder: Path, repo: str) -> Iterator[CachedFile]:
    used = set()  # by real path, as links may be written in several ways
    blobs, snapshots = folder / "blobs", folder / "snapshots"
    # Files behind a link do not belong to this cache, even if `snapshots` or `blobs` is the link.
    for revision in () if snapshots.is_symlink() else _entries(snapshots):
        if not revision.is_dir(follow_symlinks=False):
            continue
        for path in _walk(Path(revision.path)):
            kind, blob = _kind_of_snapshot(path)
            digest = _blob_of(path, folder) if kind == "weights" else ""
            used.add(os.path.realpath(blob))
            file = path.relative_to(revision.path).as_posix()
            yield _cached("hub", kind, repo, path, blob, file=file, revision=revision.name, digest=digest)
    for entry in () if blobs.is_symlink() else _entries(blobs):
        path = Path(entry.path)
        if os.path.realpath(path) not in used and not entry.is_dir(follow_symlinks=False):
            yield _cached("hub", _kind_of_blob(entry.name), repo, path, path, digest=entry.name)


def _kind_of_snapshot(path: Path) -> tuple[Kind, Path]:
    """Return a snapshot file's kind, and the file with its content (`path` itself if outside or missing)."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(hub_cache())):
        return "outside", path
    status = _status(real)
    if status is not None and stat.S_ISREG(status.st_mode):
        # On a disk without links, quarantine renames the snapshot file; elsewhere it renames the blob.
        return "damaged" if path.name.endswith(DAMAGED_SUFFIX) else "weights", real
    return "dangling" if path.is_symlink() else "outside", path


def _kind_of_blob(name: str) -> Kind:
    if name.endswith((INCOMPLETE_SUFFIX, ".tmp")):
        return "incomplete"
    return "damaged" if name.endswith(DAMAGED_SUFFIX) else "unused"


def _blob_of(snapshot: Path, folder: Path) -> str:
    """Return the name of the blob in the repository's `folder` that a snapshot file links to, else ''."""
    with suppress(OSError):
        target = snapshot.parent / os.readlink(snapshot)
        return target.name if os.path.realpath(target.parent) == os.path.realpath(folder / "blobs") else ""
    return ""


def _torch_files(folder: Path) -> Iterator[CachedFile]:
    for entry in _entries(folder):
        if not entry.is_file(follow_symlinks=False):
            continue
        # The temporary files of torch.hub end in .partial.
        left = _TEMPORARY.fullmatch(entry.name) or entry.name.endswith((INCOMPLETE_SUFFIX, ".partial"))
        kind: Kind = "incomplete" if left else "damaged" if entry.name.endswith(DAMAGED_SUFFIX) else "weights"
        digest = hash_in_name(entry.name)
        yield _cached("torch", kind, entry.name, Path(entry.path), Path(entry.path), digest=digest)


def _state_files(folder: Path) -> Iterator[CachedFile]:
    for entry in _entries(folder):
        if entry.is_file(follow_symlinks=False):
            yield _cached("zoo", "state", entry.name, Path(entry.path), Path(entry.path))
        elif entry.name in (GRAPHS, COMPILED):
            for path in _walk(Path(entry.path)):
                yield _cached("zoo", "state", str(path.relative_to(folder)), path, path)


def _cached(
    cache: str, kind: Kind, name: str, path: Path, blob: Path, *, file: str = "", revision: str = "", digest: str = ""
) -> CachedFile:
    status = _status(blob)
    size, used = (0, 0.0) if status is None else (status.st_size, max(status.st_atime, status.st_mtime))
    return CachedFile(cache, kind, name, file, revision, path, blob, size, used, digest)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
    return []


def _walk(folder: Path, depth: int = _MAX_DEPTH) -> Iterator[Path]:
    for entry in _entries(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
        elif depth:
            yield from _walk(Path(entry.path), depth - 1)


def _status(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return os.lstat(path)
    return None


# ---------------------------------------------------------------- checking


def check_file(file: CachedFile) -> str:
    """Read a file and return 'ok', 'damaged', or 'unknown' if its expected hash is not known."""
    if file.kind != "weights" or not file.digest or (file.cache == "hub" and not is_blob_name(file.digest)):
        return "unknown"
    try:
        if file.cache == "hub" and not is_sha256(file.digest):
            verify_git_blob(file.blob, file.digest, advice="")
        else:
            verify(file.blob, file.digest, advice="", fresh=True)
    except (DamagedFileError, OSError):
        return "damaged"
    return "ok"


# ---------------------------------------------------------------- removing


def leftovers(files: Iterable[CachedFile]) -> tuple[list[CachedFile], list[Path]]:
    """Return the files that no program will read again, and the held locks of the repositories that were skipped."""
    wanted = [file for file in files if file.kind in LEFTOVERS]
    held = _held_locks(wanted)
    return [file for file in wanted if _folder_of(file) not in held], sorted(set(held.values()))


def matching(files: Iterable[CachedFile], names: Sequence[str]) -> list[CachedFile]:
    """Return the files of the Hub repositories and checkpoints with these names. Raises NotFoundError."""
    files = [file for file in files if file.cache != "zoo"]
    for name in names:
        if not any(file.name == name for file in files):
            raise NotFoundError(f"Nothing called {name} is cached.", hint="`zoo cache list` shows what is.")
    return [file for file in files if file.name in names]


def remove(files: Sequence[CachedFile], *, whole: bool = False) -> int:
    """Delete files, or the `whole` repositories they belong to, and return the number of bytes freed.

    A link is removed, never its target.

    Raises CannotWriteError: a file could not be removed, or another process is downloading to its repository.
    """
    for lock in _held_locks(files).values():
        raise CannotWriteError(
            f"Another process is downloading there: it holds {lock}.", hint="Wait until it is done.", path=str(lock)
        )
    freed = 0
    for path, delete in _removals(files, whole):
        size = _size_of_tree(path)
        try:
            delete(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise cannot_write(path, error) from error
        freed += size
    return freed


def _removals(files: Sequence[CachedFile], whole: bool) -> list[tuple[Path, Callable[[Path], object]]]:
    if not whole:
        return [(file.path, os.unlink) for file in files]
    folders = {folder for file in files if (folder := _folder_of(file))}
    single = [file.path for file in files if _folder_of(file) is None]
    return [*((folder, shutil.rmtree) for folder in sorted(folders)), *((path, os.unlink) for path in single)]


def _folder_of(file: CachedFile) -> Path | None:
    """Return the folder of the Hub repository that a file belongs to, None for a file of another cache."""
    if file.cache != "hub":
        return None
    root = hub_cache()
    return root / file.path.relative_to(root).parts[0]


def _held_locks(files: Iterable[CachedFile]) -> dict[Path, Path]:
    folders = {folder for file in files if (folder := _folder_of(file))}
    return {folder: lock for folder in sorted(folders) if (lock := held_lock(folder))}


def _size_of_tree(path: Path) -> int:
    status = _status(path)
    if status is None:
        return 0
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    return sum(_size_of_tree(Path(entry.path)) for entry in _entries(path))
