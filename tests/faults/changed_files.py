"""Changes that only a stranger makes: in bytes, in JSON, in the tables of zip and tar archives.

A case follows from its number alone. A change works on the structure of a format: it sets a field and keeps what
surrounds it sound (checksums, lengths), so that a reader gets past its first check.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Sequence
from random import Random
from typing import Any

NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    -1,
    -4,
    2**8,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
)
NAMES = (
    "a",
    "b",
    "",
    "a.weight",
    "module.a",
    "../x",
    "/etc/passwd",
    "a\0b",
    "\x1b[31m",
    "\ud800",
    "é",
    "x" * 3000,
    "😀",
    "a/b",
)
TEXTS = (
    "-0",
    "1e0",
    "0.0",
    "00",
    "1" * 5000,
    "NaN",
    "-Infinity",
    "1E400",
    "+0",
    "0x0",
    "1_0",
    "tru",
    "''",
    '"\\ud800"',
)


def case(kind: str, index: int) -> Random:
    """The random numbers of a case, the same on every machine."""
    return Random(f"{kind} {index}")


def some(rng: Random, choices: Sequence[int] = (1, 1, 1, 2, 3)) -> range:
    """How many changes one case gets."""
    return range(rng.choice(choices))


def value(rng: Random, depth: int = 0) -> Any:
    """Any JSON value."""
    if depth < 3 and rng.random() < 0.2:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 3 and rng.random() < 0.1:
        return {rng.choice(NAMES): value(rng, depth + 1) for _ in range(rng.randrange(3))}
    return rng.choice([*NUMBERS, None, True, False, 1.5, -0.0, 1e300, "1", *NAMES])


def changed_bytes(data: bytes, rng: Random) -> bytes:
    """A few bytes flipped, overwritten, removed, doubled or put in."""
    raw = bytearray(data)
    for _ in some(rng, (1, 1, 2, 4)):
        place, size = rng.randrange(len(raw) + 1), rng.choice((1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0 if place < len(raw):
                raw[place] ^= 1 << rng.randrange(8)
            case 1:
                raw[place : place + size] = rng.choice((b"\xff", b"\0", b"\x7f")) * size
            case 2:
                del raw[place : place + size]
            case 3:
                raw[place:place] = rng.randbytes(size)
            case 4:
                raw[place:place] = raw[place : place + size]
            case _:
                del raw[max(place, 1) :]
    return bytes(raw)


# ---------------------------------------------------------------- text


def json_text(content: Any, rng: Random) -> str:
    return json.dumps(content, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1)))


def changed_text(raw: bytes, rng: Random) -> bytes:
    """JSON that some parsers take and others do not."""
    match rng.randrange(8):
        case 0:
            return raw + rng.choice((b" ", b"\n\t", b"\0", b"\x0b", b"}", b",", b"{}", b"\xa0", b" " * 4000))
        case 1:
            return rng.choice((b" ", b"\xef\xbb\xbf", b"\n", b"\0", b"\xff\xfe")) + raw
        case 2:
            digits = [found.span() for found in re.finditer(rb"\d+", raw)] or [(0, 0)]
            start, end = rng.choice(digits)
            return raw[:start] + rng.choice(TEXTS).encode() + raw[end:]
        case 3:
            depth = rng.choice((10, 120, 125, 126, 127, 128, 129, 2000, 100_000))
            return raw.replace(b'"dtype"', b'"x":' + b"[" * depth + b"]" * depth + b',"dtype"', 1)
        case 4:
            return raw.replace(b'"dtype"', f'"x":{rng.choice(TEXTS)},"dtype"'.encode(), 1)
        case 5:
            return raw.replace(
                b'"dtype"', rng.choice((b"'dtype'", b'"\\u0064type"', b"dtype", b'"dtype":"F32","dtype"')), 1
            )
        case 6:
            return raw.replace(b",", rng.choice((b",,", b" , ", b",\x0c", b"")), 1)
        case _:
            return changed_bytes(raw, rng)


# ---------------------------------------------------------------- archives


def zipped(members: list[tuple[str, bytes]], rng: Random) -> bytes:
    """An archive of these, now and then with one of them twice, compressed, or left out."""
    buffer = io.BytesIO()
    if rng.random() < 0.05:
        members.append(rng.choice(members))
    if rng.random() < 0.05:
        members.remove(rng.choice(members))
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # of a second one of a name
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return buffer.getvalue()


_FIELDS = {
    b"PK\x01\x02": ((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (34, 2), (42, 4)),
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x05\x06": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}
"""Place and width of the numbers in the central directory, in a member's own header, and in the end record."""


def changed_zip_fields(data: bytes, rng: Random) -> bytes:
    """Numbers in the tables of an archive."""
    raw = bytearray(data)
    for _ in some(rng):
        kind = rng.choice(list(_FIELDS))
        places = [found.start() for found in re.finditer(re.escape(kind), data)]
        if not places:
            continue
        offset, width = rng.choice(_FIELDS[kind])
        at = rng.choice(places) + offset
        before = int.from_bytes(raw[at : at + width], "little")
        new = rng.choice((*NUMBERS, before + 1, before - 1, before * 2, before + 64)) % (1 << 8 * width)
        raw[at : at + width] = new.to_bytes(width, "little")
    return bytes(raw)


_TAR_FIELDS = ((0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (148, 8), (156, 1), (157, 100), (257, 6), (345, 155))


def changed_tar_fields(data: bytes, rng: Random) -> bytes:
    """Fields of the headers of a tar; the checksum mostly follows."""
    raw = bytearray(data)
    blocks = [at for at in range(0, len(raw), 512) if raw[at + 257 : at + 262] == b"ustar"]
    for _ in some(rng):
        at, (offset, width) = rng.choice(blocks or [0]), rng.choice(_TAR_FIELDS)
        new = rng.choice(
            (
                b"%0*o" % (width - 1, rng.choice((0, 1, 511, 512, 8**7))),
                b"\xff" * width,
                b"\x80" + bytes(width - 1),
                b"-1",
                b"9" * width,
                b"\0" * width,
                b"../../x",
                b"/etc/passwd",
                rng.choice((b"1", b"2", b"5", b"g", b"x", b"L", b"S", b"7")),
            )
        )
        raw[at + offset : at + offset + width] = new[:width].ljust(width, b"\0")
        if rng.random() < 0.8:
            head = raw[at : at + 512]
            raw[at + 148 : at + 156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    return changed_bytes(bytes(raw), rng) if rng.random() < 0.1 else bytes(raw)
