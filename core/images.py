"""Finding photographs on disk. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.core.errors import InvalidInputError, NotFoundError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, order=True)
class ImageInput:
    """One image to read. `id` names it in results: relative to the folder if one folder was given, else as given."""

    id: str
    path: Path

    @property
    def source(self) -> str:
        return self.path.as_posix()


def find_inputs(paths: Sequence[str | Path]) -> list[ImageInput]:
    """Images among files and folders (searched recursively), each once, sorted by id as text.

    In folders, files count by their extension; hidden files are passed over and links to folders are not followed. A
    file that is named itself counts whatever it is called.

    Raises:
        NotFoundError: a path does not exist, or there is no image at all.
        InvalidInputError: a path is neither a file nor a folder.
    """
    given = [Path(p) for p in paths]
    if len(given) == 1 and given[0].is_dir():
        found = {ImageInput(p.relative_to(given[0]).as_posix(), p) for p in _walk(given[0])}
    else:
        found = {ImageInput(p.as_posix(), p) for path in given for p in _expand(path)}
    if not found:
        where = ", ".join(p.as_posix() for p in given) or "no path"
        raise NotFoundError(
            f"No image was found in {where}.", hint=f"Images are files ending in {', '.join(EXTENSIONS)}."
        )
    return sorted(found)


def _expand(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return _walk(path)
    if path.is_file():
        return (path,)
    if not path.exists():
        raise NotFoundError(f"There is no file or folder {path.as_posix()!r}.", path=str(path))
    raise InvalidInputError(f"{path.as_posix()!r} is neither a file nor a folder.", path=str(path))


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InvalidInputError(f"The folder {error.filename!r} could not be read: {error.strerror}.") from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if not name.startswith(".") and name.lower().endswith(EXTENSIONS) and path.is_file():
                yield path
