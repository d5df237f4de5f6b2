"""Pack locked weights as one plain tar file, to carry them to a machine without a network.

The members are `zoo.lock`, then one `sha256/<digest>` per file, sorted by digest. Owners, times and modes are constant,
so the same weights give the same bytes. Headers follow the ustar layout of POSIX:
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.atomic_output import OutputFile, atomic_output, cannot_write, sync_folder
from zoo.core.files.checksum import DamagedFileError, file_sha256
from zoo.core.files.json_file import MAX_BYTES
from zoo.weights_cache.hub import verify_snapshot
from zoo.weights_cache.hub_layout import DAMAGED_SUFFIX, INCOMPLETE_SUFFIX, publish_blob, quarantine, set_branch
from zoo.weights_cache.locate import HubFile, UrlFile, locate
from zoo.weights_cache.lock import Lock, LockedWeights, asked_branch, fetch_locked, lock_bytes, parse_lock

LOCK_MEMBER = "zoo.lock"
_FOLDER = "sha256/"
_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20


class Unpacked(NamedTuple):
    """The path of an unpacked file, and whether it `was_there` before."""

    name: str
    path: Path
    was_there: bool


# ---------------------------------------------------------------- packing


def bundle(lock: Lock, target: Path, *, force: bool = False, progress: bool | None = None) -> bool:
    """Write the weights of a lock as a tar file, and return False if the target already had these bytes.

    Weights that are not cached are fetched. `progress` is passed to `fetch`.

    Raises:
        InvalidInputError: some weights belong to an installed Python package, or a file does not match the lock.
        NotFoundError: as `fetch`. CannotWriteError: the target could not be written.
    """
    for name, locked in lock.items():
        if not locked.cacheable:
            raise InvalidInputError(
                f"{name} comes with a Python package ({locked.source}), which a bundle does not carry.",
                hint="Carry the package itself: pip download",
            )
    paths = {locked.sha256: fetch_locked(name, locked, progress=progress).path for name, locked in lock.items()}
    with atomic_output(target, force=force) as output:
        document = lock_bytes(lock)
        output.write(_header(LOCK_MEMBER, len(document)) + document + _padding(len(document)))
        for locked in _members(lock):
            _pack(output, locked, paths[locked.sha256])
        output.write(bytes(2 * _BLOCK))
    return not output.unchanged


def _members(lock: Lock) -> list[LockedWeights]:
    """Return each locked file once, in the order of the tar."""
    return sorted(set(lock.values()), key=lambda locked: (locked.sha256, locked))


def _pack(output: OutputFile, locked: LockedWeights, path: Path) -> None:
    output.write(_header(_FOLDER + locked.sha256, locked.size))
    with path.open("rb") as file:
        digest = _copy(file, locked.size, output.write)
    if digest != locked.sha256:
        raise DamagedFileError(f"{path} changed while it was packed.", hint="Run the command again.", path=str(path))
    output.write(_padding(locked.size))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    # The format matters only for sizes above 8 GiB.
    return member.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


# ---------------------------------------------------------------- unpacking


def unbundle(path: Path, *, locked: Lock | None = None) -> list[Unpacked]:
    """Put the weights of a bundle where `locate` finds them: in the Hub cache or torch.hub's folder.

    Every byte is checked before the first file is put in place. File names come only from the lock inside, whose
    entries are checked too, and never from a tar header.

    Args:
        path: the tar file.
        locked: the lock that the bundle must hold, if known.

    Raises:
        NotFoundError: no such file.
        InvalidInputError: the file is not a bundle, damaged, hostile, or differs from `locked`. Nothing was put in
            place.
        CannotWriteError: a cache folder cannot be written.
    """
    try:
        # Opening a pipe would wait for its writer.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path.", path=str(path)
        ) from None
    with file:
        return _Reader(file, path).unpack(locked)


class _Reader:
    """Reads a bundle once, from front to end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path

    def unpack(self, locked: Lock | None) -> list[Unpacked]:
        lock = self._read_lock()
        if locked is not None and lock != locked:
            raise InvalidInputError(f"{self._path} does not hold what the lock names.", path=str(self._path))
        with ExitStack() as stack:
            # Parts that are not put in place are removed on exit, even after an error.
            parts = {member: self._read_member(member, stack) for member in _members(lock)}
            self._read_end()
            placed = {member: _place(member, part, _branches(lock, member)) for member, part in parts.items()}
            return [Unpacked(name, *placed[entry]) for name, entry in lock.items()]

    def _read_lock(self) -> Lock:
        size = self._read_header(LOCK_MEMBER, MAX_BYTES)
        data = self._read(size + -size % _BLOCK)[:size]
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self._broken("its lock is not one JSON object")
        lock = parse_lock(document, name=f"The lock in {self._path}")
        if not all(entry.cacheable for entry in lock.values()):
            raise self._broken("its lock names weights that a bundle cannot carry")
        return lock

    def _read_member(self, locked: LockedWeights, stack: ExitStack) -> Path:
        size = self._read_header(_FOLDER + locked.sha256, locked.size)
        if size != locked.size:
            raise self._broken(
                f"sha256/{locked.sha256[:16]}... should have {locked.size} bytes, the header says {size}"
            )
        part = stack.enter_context(_part(locked))
        try:
            with part.open("xb") as output:
                digest = _copy(self._file, size, output.write)
                output.flush()
                os.fsync(output.fileno())
        except OSError as error:
            raise cannot_write(part, error) from error
        if digest != locked.sha256:
            found = f"{digest[:16]}..." if digest else "an end too early"
            raise self._broken(f"the sha256 of a file should be {locked.sha256[:16]}..., found {found}")
        if any(self._read(-size % _BLOCK)):
            raise self._broken("there is something between its members")
        return part

    def _read_header(self, name: str, most: int) -> int:
        """Return the size of the next member, which must be the regular file `name`."""
        block = self._read(_BLOCK)
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError):
            raise self._broken(f"{name[:24]} should follow, found something else") from None
        if member.name != name or member.type != tarfile.REGTYPE:
            raise self._broken(
                f"the member {name[:24]} should follow, found {member.name[:80]!r} of another kind or name"
            )
        if not 0 <= member.size <= most:
            raise self._broken(f"{name[:24]} should have at most {most} bytes, its header says {member.size}")
        return member.size

    def _read_end(self) -> None:
        if any(self._read(2 * _BLOCK)) or self._file.read(1):
            raise self._broken("it should end after its last member, found more")

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        if len(data) < size:
            raise self._broken("it ends too early")
        return data

    def _broken(self, why: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self._path} is no sound zoo bundle: {why}.",
            hint="Copy it again, or pack it again with `zoo bundle`.",
            path=str(self._path),
        )


def _copy(file: BinaryIO, size: int, write: Callable[[bytes], object]) -> str:
    """Pass the next `size` bytes to `write` and return their sha256, or '' if there are fewer bytes."""
    digest = hashlib.sha256()
    while size and (chunk := file.read(min(size, _CHUNK))):
        digest.update(chunk)
        write(chunk)
        size -= len(chunk)
    return "" if size else digest.hexdigest()


@contextmanager
def _part(locked: LockedWeights) -> Iterator[Path]:
    """Yield an unused file name in the folder where the file will be stored; remove that part file on exit."""
    folder = _home(_source(locked))
    part = folder / f"{locked.sha256}.{os.urandom(4).hex()}{INCOMPLETE_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink()


def _home(source: HubFile | UrlFile) -> Path:
    return source.folder / "blobs" if isinstance(source, HubFile) else source.path.parent


def _source(locked: LockedWeights) -> HubFile | UrlFile:
    source = locate(locked.cfg(""))
    assert isinstance(source, HubFile | UrlFile)  # other sources were refused before
    return source


def _branches(lock: Lock, member: LockedWeights) -> set[str]:
    """Return the branches that the lock's names for a file ask for in its repository."""
    return {asked_branch(name, locked) for name, locked in lock.items() if locked == member}


def _place(locked: LockedWeights, part: Path, branches: set[str]) -> tuple[Path, bool]:
    """Move a complete part into place. Return the path, and whether the same content was there already."""
    source = _source(locked)
    try:
        old = source.cached()
        if old is not None and file_sha256(old) == locked.sha256:
            path = old
        elif isinstance(source, HubFile):
            if old is not None and not _is_sound(source, old):
                quarantine(old, old.stat().st_ino)
            path = publish_blob(
                part, source.folder, revision=locked.revision, filename=locked.file, sha256=locked.sha256
            )
        else:
            if old is not None:
                os.replace(old, f"{old}{DAMAGED_SUFFIX}")
            path = source.path
            os.replace(part, path)
        if isinstance(source, HubFile):
            for branch in branches:
                set_branch(source.folder, branch, locked.revision)
        sync_folder(os.fspath(path.parent))
    except OSError as error:
        raise cannot_write(part.parent, error) from error
    return path, path is old


def _is_sound(source: HubFile, snapshot: Path) -> bool:
    """Whether a snapshot file links to a blob that matches its hash; other snapshots may link to that blob too."""
    try:
        verify_snapshot(source, snapshot)
    except InvalidInputError:
        return False
    return snapshot.is_symlink()
