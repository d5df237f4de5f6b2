"""What safetensors refuses zoo refuses, in bounded time and memory, whatever is done to a file."""

from __future__ import annotations

import shutil
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights

from injection import MODEL, OLD, OUT, adapt_words, temporary_files
from weight_bytes import file_bytes

BOUNDED = settings(
    max_examples=300, deadline=timedelta(seconds=2), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def library_accepts(content: bytes) -> bool:
    try:
        deserialize(content)
    except SafetensorError:
        return False
    return True


def zoo_accepts(path: Path, content: bytes) -> bool:
    """Whether zoo opens a file of these bytes; every other error than its own goes on, and so does a bloated memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with open_weights(path) as file:
            for tensor in file.tensors.values():
                tensor.read()
    except InvalidInputError:
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000_000
    return True


# ---------------------------------------------------------------- headers


def entry_with(*fields: str) -> bytes:
    sound = ['"dtype":"U8"', '"shape":[1]', '"data_offsets":[0,1]']
    return file_bytes(f'{{"w":{{{",".join([*sound, *fields])}}}}}'.encode(), b"x")


@pytest.mark.parametrize(
    "content",
    [
        file_bytes(b'{"w":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'),
        file_bytes(b'{"w":{"dtype":"U8","shape":[0],"data_offsets":[-0,0]}}'),
        entry_with('"more":1e999'),
        entry_with(f'"more":{"9" * 400}'),
        entry_with('"more":"\\ud800"'),
        entry_with('"\\ud800":1'),
        entry_with('"more":{"\\ud800":1}'),
        entry_with(f'"more":{"[" * 126}{"]" * 126}'),
        entry_with('"more":' + '{"a":' * 126 + "1" + "}" * 126),
        entry_with('"more":1.7976931348623159e308'),
    ],
    ids=["shape", "offset", "exponent", "digits", "text", "key", "inner key", "lists", "objects", "largest number"],
)
def test_what_only_other_readers_of_json_take(tmp_path: Path, content: bytes):
    assert not library_accepts(content)
    assert not zoo_accepts(tmp_path / "w", content)


@pytest.mark.parametrize(
    "field", ['"more":{"a":[1.5,null,true,"\\ud83d\\ude00"]}', '"more":-0', f'"more":{"[" * 125}{"]" * 125}']
)
def test_a_field_that_the_format_does_not_name_is_passed_over(tmp_path: Path, field: str):
    assert library_accepts(entry_with(field))
    assert zoo_accepts(tmp_path / "w", entry_with(field))


def listed(texts: list[str]) -> str:
    return f"[{','.join(texts)}]"


def keyed(pairs: list[tuple[str, str]]) -> str:
    return f"{{{','.join(f'{key}:{text}' for key, text in pairs)}}}"


KEYS = st.sampled_from(['"dtype"', '"shape"', '"data_offsets"', '"more"', '""', '"\\ud800"', '"__metadata__"', "more"])
NUMBERS = ["0", "-0", "1", "-1", "1.0", "1e0", "01", "1e999", "-1e-999", "9" * 400, str(2**63), str(2**64), "NaN"]
WORDS = ["null", "true", '""', '"U8"', '"F32"', '"F4"', '"\\ud800"', '"\\ud83d\\ude00"', '"\t"', "'U8'", "", "[" * 200]
LEAVES = st.sampled_from([*NUMBERS, *WORDS])
DEEP = st.integers(100, 140).map(lambda depth: "[" * depth + "]" * depth)
VALUES = st.recursive(
    LEAVES | DEEP,
    lambda inner: st.lists(inner, max_size=3).map(listed) | st.lists(st.tuples(KEYS, inner), max_size=3).map(keyed),
    max_leaves=5,
)


@st.composite
def edited_files(draw: st.DrawFn) -> bytes:
    """A sound file of up to three tensors whose header somebody edited, as text."""
    tensors, position = [], 0
    for i in range(draw(st.integers(0, 3))):
        size = draw(st.integers(0, 2))
        fields = [
            ('"dtype"', '"U8"'),
            ('"shape"', f"[{size}]"),
            ('"data_offsets"', f"[{position},{position + size}]"),
        ]
        position += size
        for _ in range(draw(st.integers(0, 2))):
            match draw(st.sampled_from(["replace", "add", "drop"])):
                case "replace" if fields:
                    at = draw(st.integers(0, len(fields) - 1))
                    fields[at] = fields[at][0], draw(VALUES)
                case "add":
                    fields.append((draw(KEYS), draw(VALUES)))
                case _:
                    fields = fields[1:]
        tensors.append((f'"t{i}"', keyed(fields)))
    if draw(st.booleans()):
        tensors.insert(0, ('"__metadata__"', draw(VALUES | st.just('{"format":"pt"}'))))
    blank = st.sampled_from(["", " ", "\n\t", "\ufeff", "\0", "\x0b"])
    header = draw(blank) + keyed(tensors) + draw(blank)
    return file_bytes(header.encode(), bytes(position + draw(st.sampled_from([0, 0, 0, -1, 1])) if position else 0))


@BOUNDED
@given(content=edited_files())
def test_an_edited_header_that_the_library_refuses_is_refused(tmp_path: Path, content: bytes):
    if zoo_accepts(tmp_path / "w", content):
        assert library_accepts(content)


# ---------------------------------------------------------------- whole files, through the command


@pytest.fixture(scope="module")
def damaged(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sound file in a folder of its own, to be damaged and mended in place."""
    path = tmp_path_factory.mktemp("damaged") / "source"
    shutil.copy(sound, path)
    return path


@settings(BOUNDED, max_examples=40, deadline=None)  # a sync takes as long as the disk wants
@given(data=st.data())
def test_bytes_that_flipped_are_refused_or_carried_on(damaged: Path, data: st.DataObject):
    whole = damaged.read_bytes()
    header, out = 8 + int.from_bytes(whole[:8], "little"), damaged.parent / OUT
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        # Most in the header: of the eleven megabytes after it all are alike.
        place = data.draw(st.integers(0, header - 1) | st.integers(0, 16) | st.integers(0, len(whole) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    del content[data.draw(st.sampled_from([len(content)] * 5 + [header, header - 1, 1000])) :]
    out.write_bytes(OLD)
    damaged.write_bytes(content)
    try:
        code = errors.run(app, list(map(str, adapt_words(damaged, "--force", "--quiet", out=out))))
    finally:
        damaged.write_bytes(whole)
    assert code in (0, 4)
    assert library_accepts(out.read_bytes()) if code == 0 else out.read_bytes() == OLD
    assert temporary_files(out.parent) == []
    assert MODEL.encode() in out.read_bytes() or code == 4
