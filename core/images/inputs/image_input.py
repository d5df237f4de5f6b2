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

    `id` names it in results, unique in its list: relative to the folder if one folder was given, else as given; of a
    file in an archive `archive.tar/member`, of a window `file#top,left`. `path` is the file on disk, `member` the name
    within an archive, whose bytes are at `offset`, `size` of them; `window` the part of a raster. `packed` says how the
    bytes of a member are compressed: "deflate" and its CRC-32 if by itself, "tar" in a whole archive, where
    `offset` counts in what is unpacked.
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
        """The file, with the member of an archive, as a manifest names it."""
        return f"{self.path}/{self.member}" if self.member else self.path
