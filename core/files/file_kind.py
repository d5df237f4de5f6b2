"""Recognise a file's format by its first bytes. Standard library only."""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD = 512
"""The number of bytes needed to recognise a format."""


class FileKind(NamedTuple):
    """A file's format: `name` completes "<path> is ...", `advice` says what to do if it is not a weight file.

    `reader` is "safetensors", "zip", "pickle", "tar", "onnx" or "index"; "" if zoo reads no weights from the format.
    """

    name: str
    advice: str = ""
    reader: str = ""


_EXPORT = "Take the checkpoint that it was exported from: `torch.save(model.state_dict(), OUT)`."
_UNPACK = "Unpack it, and name what is inside."
_NO_WEIGHTS = "Name a weight file: safetensors, a torch checkpoint, or an .npz."
_ADVICE_PICKLE = "Give it the ending .pth, so that it is read as one."

SAFETENSORS = FileKind("a safetensors file", reader="safetensors")
UNKNOWN = FileKind("", _NO_WEIGHTS)
_JSON = FileKind("JSON text", "Of a checkpoint in shards name the index, *.index.json, or the folder.", "index")
_TEXT = FileKind("text", "Name the weight file itself, or download it again: an error page may be in its place.")
_ONNX = FileKind("an ONNX model", _EXPORT, "onnx")
_PROTOBUF = FileKind("a protobuf file of Core ML or TensorFlow", _EXPORT)
_MSGPACK = FileKind("a MessagePack file, as Flax writes", _NO_WEIGHTS, "msgpack")
_PICKLE = FileKind("a pickle", _ADVICE_PICKLE, "pickle")

_SIGNATURES: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"PK\x03\x04", FileKind("a torch or zip file", _ADVICE_PICKLE, "zip")),
    (0, b"L119547037146038801333356L\n.", _PICKLE),  # torch's number in the protocols 0 and 1
    (0, b"PK\x05\x06", FileKind("a zip file without anything in it", _NO_WEIGHTS)),
    (0, b"\x80\x02", _PICKLE),
    (0, b"\x80\x03", _PICKLE),
    (0, b"\x80\x04", _PICKLE),
    (0, b"\x80\x05", _PICKLE),
    (257, b"ustar", FileKind("a tar archive", _NO_WEIGHTS, "tar")),
    (0, b"GGUF", FileKind("a GGUF file", "zoo does not read it: take the checkpoint that it was converted from.")),
    (4, b"TFL3", FileKind("a TensorFlow Lite model", "Take the checkpoint that it was converted from.")),
    (4, b"ORTM", FileKind("a model of ONNX Runtime", _EXPORT)),
    (4, b"ET12", FileKind("an ExecuTorch program", _EXPORT)),
    (0, b"\x89HDF\r\n\x1a\n", FileKind("an HDF5 file, as Keras writes", _NO_WEIGHTS, "hdf5")),
    (0, b"\x93NUMPY", FileKind("a NumPy file", "Save the array under its name: numpy.savez(OUT, name=array).")),
    (0, b"\x1f\x8b", FileKind("a gzip file", "Unpack it with gunzip, and name what is inside.")),
    (0, b"BZh", FileKind("a bzip2 file", "Unpack it with bunzip2, and name what is inside.")),
    (0, b"\xfd7zXZ\x00", FileKind("an xz file", "Unpack it with unxz, and name what is inside.")),
    (0, b"\x28\xb5\x2f\xfd", FileKind("a Zstandard file", "Unpack it with unzstd, and name what is inside.")),
    (0, b"\x04\x22\x4d\x18", FileKind("an LZ4 file", "Unpack it with unlz4, and name what is inside.")),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", FileKind("a RAR archive", _UNPACK)),
    (0, b"\x89PNG\r\n\x1a\n", FileKind("a PNG image", _NO_WEIGHTS)),
    (0, b"\xff\xd8\xff", FileKind("a JPEG image", _NO_WEIGHTS)),
    (0, b"II*\x00", FileKind("a TIFF image", _NO_WEIGHTS)),
    (0, b"MM\x00*", FileKind("a TIFF image", _NO_WEIGHTS)),
    (0, b"II+\x00", FileKind("a TIFF image", _NO_WEIGHTS)),
    (0, b"GIF8", FileKind("a GIF image", _NO_WEIGHTS)),
    (8, b"WEBP", FileKind("a WebP image", _NO_WEIGHTS)),
    (0, b"%PDF-", FileKind("a PDF document", _NO_WEIGHTS)),
    (0, b"\x12\x01\x00\x00\x00\x00\x00\x00", FileKind("a parameter file of MXNet", "Load it with MXNet, and save its"
                                                         " arrays with numpy.savez.")),
    (0, b"\x00\x05\x16\x07", FileKind("what macOS keeps beside a file", "Name the file itself, without `._`.")),
    (0, b"\x7fELF", FileKind("a program or library", _NO_WEIGHTS)),
)  # fmt: skip
_TEXTS = (
    (b"version https://git-lfs", FileKind("a Git LFS pointer", "Fetch the real file: git lfs pull.")),
    (b"<!doctype", FileKind("an HTML page", "The download was an error page: download again.")),
    (b"<html", FileKind("an HTML page", "The download was an error page: download again.")),
    (b"model_checkpoint_path:", FileKind("the list of a TensorFlow checkpoint",
                                         "Load it with TensorFlow, and save its variables with numpy.savez.")),
)  # fmt: skip
_OLD_PICKLE = re.compile(rb"\((?:dp|lp)\d+\n|[}\]]q\x00|c(?:collections\nOrderedDict|__builtin__\ndict)\n", re.DOTALL)
"""A dictionary or list in protocol 0 or 1, which have no marker of their own."""
_DISTRIBUTED = FileKind(
    "a part of a checkpoint of torch.distributed.checkpoint", "Name its folder: the error tells how it is merged."
)
_TENSORFLOW = FileKind(
    "a part of a TensorFlow checkpoint", "Load it with TensorFlow, and save its variables with numpy.savez."
)
EMPTY = FileKind("empty: expected at least 8 bytes, found 0", "Download it again, or copy it again.")


def file_kind(head: bytes, size: int, path: str = "") -> FileKind:
    """Recognise a file's format.

    Args:
        head: its first HEAD bytes.
        size: its size in bytes.
        path: only for formats without a signature: parts of distributed and of TensorFlow checkpoints.
    """
    if not size:
        return EMPTY
    # The length before a header may look like a signature: 640 reads as a pickle. In a JSON file its eight bytes are
    # text.
    if head[8:9] == b"{" and _text_kind(head) is None:
        return SAFETENSORS
    if path.endswith(".distcp"):
        return _DISTRIBUTED
    for offset, magic, kind in _SIGNATURES:
        if head.startswith(magic, offset):
            return kind
    if _OLD_PICKLE.match(head):
        return _PICKLE
    return _text_kind(head) or _binary_kind(head, size, path)


def _text_kind(head: bytes) -> FileKind | None:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < HEAD - 3:  # a character may be cut at the end
            return None
        text = head[: error.start].decode()
    if any(ord(character) < 32 and character not in "\t\n\r\f\x1b" for character in text):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for begin, kind in _TEXTS:
        if start.startswith(begin):
            return kind
    if start.startswith((b"<?xml", b"<net ")):
        if b"<net " in start:
            return FileKind("the description of an OpenVINO model", _EXPORT)
        return FileKind("XML text", _NO_WEIGHTS)
    return _JSON if start[:1] in (b"{", b"[") else _TEXT


def _binary_kind(head: bytes, size: int, path: str) -> FileKind:
    if re.search(r"\.(data-\d{5}-of-\d{5}|ckpt-\d+\.index)$", path):
        return _TENSORFLOW
    if re.match(rb"(?:[\x81-\x8f]|\xde..|\xdf....)(?:[\xa1-\xbf]|\xd9.|\xda..)[\w./ -]", head, re.DOTALL):
        return _MSGPACK
    # Protocol buffers begin with field 1. In ONNX it is the version, followed by strings. In Core ML and TensorFlow it
    # is a message.
    if re.match(rb"\x08[\x01-\x20](?:\x12[\x01-\x7f][\x20-\x7e]|[\x1a\x22\x2a\x32\x3a\x42])", head):
        return _ONNX
    if re.match(rb"\x08[\x01-\x20]\x12", head) or re.match(
        rb"\x0a[\x01-\xff][\x00-\x7f]?\x0a[\x01-\x7f][\w./ -]", head
    ):
        return _PROTOBUF
    if size < 8 or int.from_bytes(head[:8], "little") <= size - 8:
        return SAFETENSORS  # the reader reports what is wrong with it
    return UNKNOWN
