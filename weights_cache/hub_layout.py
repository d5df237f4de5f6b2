"""The layout of huggingface_hub's cache on disk: blobs named by hash, snapshots that link to them, and lock files.

https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from zoo.weights_cache.locate import COMMIT

DAMAGED_SUFFIX = ".damaged"
INCOMPLETE_SUFFIX = ".incomplete"
MAX_SIZE = 1 << 44
"""More bytes than any weight file has."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """Whether a text is a sha256 in lower-case hex, the name of a blob in the Hub's large-file storage."""
    return bool(_SHA256.fullmatch(text))


def is_blob_name(name: str) -> bool:
    """Whether a name is a sha256 or a git hash, which has the form of a commit."""
    return is_sha256(name) or bool(COMMIT.fullmatch(name))


def repo_of(folder_name: str) -> str:
    """Return `owner/name` for a folder `models--owner--name`, '' for any other folder."""
    kind, _, repo = folder_name.partition("--")
    return repo.replace("--", "/", 1) if kind == "models" and repo else ""


def quarantine(snapshot: Path, inode: int) -> None:
    """Rename the blob behind a snapshot file to a name that no program looks for.

    Only the file with this inode is renamed: another process may have found the damage too and fetched a sound file
    since.
    """
    with suppress(OSError):
        blob = os.path.join(snapshot.parent, os.readlink(snapshot)) if snapshot.is_symlink() else os.fspath(snapshot)
        if os.stat(blob).st_ino == inode:
            os.replace(blob, blob + DAMAGED_SUFFIX)


def held_lock(folder: Path) -> Path | None:
    """Return a lock file of a repository's `folder` that a process holds, None if there is none.

    The kernel decides whether a lock is held. On a file system without locks, every existing lock file counts as held.
    """
    locks = folder.parent / ".locks" / folder.name
    with suppress(OSError):
        return next((path for path in sorted(locks.iterdir()) if path.suffix == ".lock" and _is_held(path)), None)
    return None


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def publish_blob(part: Path, folder: Path, *, revision: str, filename: str, sha256: str) -> Path:
    """Move a complete file into a repository's `folder` as huggingface_hub would, and return the snapshot file.

    `part` is a file in the folder's `blobs`.
    """
    blob = folder / "blobs" / sha256
    os.replace(part, blob)
    snapshot = folder / "snapshots" / revision / filename
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    link = snapshot.with_name(f".{os.urandom(8).hex()}.tmp")
    os.symlink(os.path.relpath(blob, snapshot.parent), link)
    try:
        os.replace(link, snapshot)
    except OSError:  # a folder has that name
        link.unlink()
        raise
    return snapshot


def set_branch(folder: Path, branch: str, revision: str) -> bool:
    """Point a branch of a repository's `folder` to a revision; return False if it points to a different one already."""
    if branch == revision:
        return True
    ref = folder / "refs" / branch
    try:
        return ref.read_text() == revision
    except (OSError, UnicodeDecodeError):
        pass
    ref.parent.mkdir(parents=True, exist_ok=True)
    temporary = ref.with_name(f".{os.urandom(8).hex()}.tmp")
    temporary.write_text(revision)
    os.replace(temporary, ref)
    return True
