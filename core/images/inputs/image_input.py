"""One image to read. Standard library only."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """A rectangle of pixels, counted from the top left."""

    left: int
    top: int
    width: int
    height: int


class ImageInput(NamedTuple):
    """One image to read.

    `id` names it in results and is unique in its list: relative to the folder if one folder was given, otherwise as
    given; `archive.tar/member` for a member of an archive, `file#top,left` for a window. `path` is the file on disk.
    `member` is the name in an archive; its `size` bytes are at `offset`. `window` is the part of a raster. `packed`
    says how a member is compressed: "deflate" and its CRC-32 if separately, "tar" if the whole archive is, in which
    case `offset` refers to the unpacked archive.
    """

    id: str
    path: str
    member: str = ""
    offset: int = 0
    size: int = 0
    window: Window | None = None
    packed: str = ""

    @property
    def source(self) -> str:
        """The file, with the archive member, as named in a manifest."""
        return f"{self.path}/{self.member}" if self.member else self.path
