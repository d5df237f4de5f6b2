"""Locks, bundles and config.json with other values than zoo or timm would write."""

from __future__ import annotations

import io
import json
import tarfile
from random import Random
from typing import Any

from faults.changed_files import NAMES, NUMBERS, changed_bytes, changed_tar_fields, changed_text, some, value


def lock_entry(rng: Random, content: bytes, digest: str) -> dict[str, Any]:
    """An entry of a lock: sound, but for a field or two."""
    source, file = rng.choice(
        (
            ("hf-hub:owner/net", "model.safetensors"),
            ("https://host/net.pth", "net.pth"),
            ("hf-hub:owner/other", "a/b.bin"),
        )
    )
    entry: dict[str, Any] = {"source": source, "file": file, "size": len(content), "sha256": digest}
    if source.startswith("hf-hub:"):
        entry["revision"] = "c0ffee" + "0" * 34
    sources = (
        "hf-hub:../x",
        "hf-hub:a/b--c",
        "hf-hub:/x/y",
        "https://u:p@h/x.pth",
        "http://127.0.0.1/x",
        "file:///etc/passwd",
        "package:os",
        "https://h/..",
        "https://h/%2e%2e",
        "https://h/a;b?c#d",
        "https://[::1",
        "hf-hub:a/b/c",
        "hf-hub:..",
    )
    files = (
        "../../x",
        "/etc/passwd",
        ".",
        "..",
        "a/../b",
        "./a",
        "a//b",
        "a/.",
        "x" * 300,
        "refs/main",
        "a\\b",
        "",
        "\0",
    )
    for _ in some(rng, (0, 0, 1, 2)):
        match rng.randrange(6):
            case 0:
                entry["source"] = rng.choice(sources)
            case 1:
                entry["file"] = rng.choice(files)
            case 2:
                entry["sha256"] = rng.choice((digest.upper(), "../" * 20, digest[:-1], "0" * 64, digest + "0"))
            case 3:
                entry["size"] = rng.choice((*NUMBERS, True, 1.0, "5"))
            case 4:
                entry["revision"] = rng.choice(("main", "../../x", "", "A" * 40, "0" * 41))
            case _:
                entry[rng.choice((*entry, *NAMES))] = value(rng)
    return entry


def lock_file(rng: Random, contents: dict[str, bytes]) -> bytes:
    """A lock of up to three weights whose digests are these."""
    entries = {}
    for _ in range(rng.randrange(4)):
        digest = rng.choice(list(contents))
        name = rng.choice(("resnet34.a1_in1k", "net.x", "net.y", *NAMES))
        entries[name] = lock_entry(rng, contents[digest], digest)
    document: Any = {"zoo_lock": rng.choice((1, 1, 1, 1, 1, 1, 2, True, 1.0, None)), "weights": entries}
    if rng.random() < 0.05:
        document = value(rng)
    raw = (json.dumps(document, indent=1, sort_keys=rng.random() < 0.9) + "\n").encode("utf-8", "surrogatepass")
    return changed_text(raw, rng) if rng.random() < 0.1 else raw


def bundle_file(rng: Random, contents: dict[str, bytes]) -> bytes:
    """A bundle of them: the headers of its members, its members and its lock changed."""
    raw = lock_file(rng, contents)
    buffer = io.BytesIO()
    used = sorted(digest for digest in contents if digest.encode() in raw)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in [("zoo.lock", raw), *((f"sha256/{digest}", contents[digest]) for digest in used)]:
            info = tarfile.TarInfo(name)
            match rng.randrange(25):
                case 0:
                    info.name = rng.choice(("../x", "/etc/x", f"sha256/{'0' * 64}", "zoo.lock", "sha256/../../x"))
                case 1:
                    info.type, info.linkname = (
                        rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE)),
                        "/etc/passwd",
                    )
                case 2:
                    data = changed_bytes(data, rng)
            info.size = 0 if info.type != tarfile.REGTYPE else len(data)
            archive.addfile(info, io.BytesIO(data))
    data = buffer.getvalue()
    data = data.rstrip(b"\0")
    data += bytes(-len(data) % 512) + bytes(1024)  # as zoo ends it
    return changed_tar_fields(data, rng) if rng.random() < 0.3 else data


def config_file(rng: Random) -> bytes:
    """A config.json of timm's format with other values, and sometimes other text."""
    weights: dict[str, Any] = {
        "input_size": [3, 224, 224],
        "first_conv": "conv1",
        "classifier": "fc",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "custom_load": False,
        "url": "",
        "tag": "a",
    }
    config: dict[str, Any] = {
        "architecture": "resnet34",
        "num_classes": 1000,
        "global_pool": "avg",
        "model_args": {"in_chans": 3},
        "pretrained_cfg": weights,
    }
    more = (
        "in_chans",
        "img_size",
        "architecture",
        "test_input_size",
        "fixed_input_size",
        "pool_size",
        "state_dict",
        "file",
        "checkpoint_path",
        "features_only",
        "__class__",
        "hf_hub_id",
        "custom_load",
        "url",
    )
    for _ in some(rng):
        tables = [table for table in (config, weights, config.get("model_args")) if isinstance(table, dict)]
        table = rng.choice(tables)
        table[rng.choice((*table, *more))] = rng.choice(
            (value(rng), [3, 10**9, 1], [1], ["a"] * 1000, [0.1, 0.2, 0.3, 0.4])
        )
    raw = json.dumps(config, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return changed_text(raw, rng) if rng.random() < 0.2 else raw
