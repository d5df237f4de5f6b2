"""How huggingface_hub lays its cache out on disk: blobs by hash, snapshots that link to them, locks beside.

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
    """Whether this is a sha256 in lower-case hex, as a blob of the Hub's large-file storage is named."""
    return bool(_SHA256.fullmatch(text))


def is_blob_name(name: str) -> bool:
    """Whether this is a sha256 or a git hash, of the form that a commit has."""
    return is_sha256(name) or bool(COMMIT.fullmatch(name))


def repo_of(folder_name: str) -> str:
    """`owner/name` of a folder `models--owner--name`; '' for any other folder."""
    kind, _, repo = folder_name.partition("--")
    return repo.replace("--", "/", 1) if kind == "models" and repo else ""


def quarantine(snapshot: Path, inode: int) -> None:
    """Put the blob behind a snapshot file aside, under a name that no program looks for.

    Only the file with this inode: another process may have found the damage too, and fetched a sound one since.
    """
    with suppress(OSError):
        blob = os.path.join(snapshot.parent, os.readlink(snapshot)) if snapshot.is_symlink() else os.fspath(snapshot)
        if os.stat(blob).st_ino == inode:
            os.replace(blob, blob + DAMAGED_SUFFIX)


def held_lock(folder: Path) -> Path | None:
    """The lock file of a repository's `folder` that a process holds, None where there is none.

    A lock is what the kernel says it is; where a file system has no locks, the file's existence is one.
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
    """Put a complete file into a repository's `folder` as its own client would; returns the snapshot file.

    `part` lies in the folder's blobs and is moved.
    """
    blob = folder / "blobs" / sha256
    os.replace(part, blob)
    snapshot = folder / "snapshots" / revision / filename
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    link = snapshot.with_name(f".{os.urandom(8).hex()}.tmp")
    os.symlink(os.path.relpath(blob, snapshot.parent), link)
    try:
        os.replace(link, snapshot)
    except OSError:  # there is a folder of that name
        link.unlink()
        raise
    return snapshot


def set_branch(folder: Path, branch: str, revision: str) -> bool:
    """Have a branch of a repository's `folder` be this revision; False where it is another one already."""
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
