"""Image archives of all kinds. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.packed_archive import PACKED_ARCHIVES
from zoo.core.images.inputs.tar_archive import packed_tar_members, tar_members
from zoo.core.images.inputs.zip_archive import zip_members

_REFUSED = (".tar.zst",)
ARCHIVES = (".tar", ".zip", *PACKED_ARCHIVES, *_REFUSED)
"""Endings of archive names. Zstandard is included so that an error can name the command that unpacks it."""

_ALL = ("",)


def archive_members(path: str) -> Iterator[ImageInput]:
    """The files in an archive, whatever their names; hidden ones are skipped.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, ends early, or is packed in a way that cannot be read.
        CannotWriteError: the temporary folder has no room for the unpacked data.
    """
    name = path.lower()
    if name.endswith(".zip"):
        return zip_members(path)
    return packed_tar_members(path, _ALL) if name.endswith(PACKED_ARCHIVES) else tar_members(path, _ALL)
