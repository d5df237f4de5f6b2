"""Remove from tensor names what wrappers add.

A wrapper (DataParallel, torch.compile, activation checkpointing, FSDP, transformers' TimmWrapper) is a module with one
child, so its segment in a name is redundant. It is removed if no two names become equal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

_LEADING = ("module.", "_orig_mod.", "timm_model.")
_AVERAGED = "n_averaged"
"""The count of torch's AveragedModel, the one tensor beside the `module.` of a wrapper."""
_SEGMENTS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_fpw_module")
"""No module of a network has one of these names; `module`, in contrast, occurs in published networks too."""
_CHUNKED = re.compile(r"((?:.*\.)?blocks\.)(\d{1,4})\.(\d{1,4})(\..+)", re.DOTALL)
_MAX_PARTS = 64
"""The most separately wrapped parts of a network: each is compared with every name."""


class BareNames(NamedTuple):
    """Names as in the network itself.

    `names` maps each name to the name without wrappers; what a wrapper itself stores is not among them. `prefix` is
    what preceded (most of) the names, `wrappers` are the segments within them. `twice` is a name that two tensors would
    get, or "".
    """

    names: dict[str, str]
    prefix: str = ""
    wrappers: tuple[str, ...] = ()
    twice: str = ""


def bare_names(given: Iterable[str]) -> BareNames:
    """Remove wrappers from the names; names without wrappers stay unchanged."""
    names = {name: name for name in given}
    if _AVERAGED in names and all(name.startswith("module.") for name in names if name != _AVERAGED):
        del names[_AVERAGED]
    prefixes: dict[str, int] = {}
    for name in names:
        rest = _without_leading(name)
        prefix = name[: len(name) - len(rest)]
        prefixes[prefix] = prefixes.get(prefix, 0) + 1
        names[name] = rest
    prefix = max(prefixes, key=lambda p: prefixes[p], default="")
    wrappers = [segment for segment in _SEGMENTS if any(f".{segment}." in f".{name}" for name in names.values())]
    if wrappers:
        names = {name: _without_leading(_without_segments(bare)) for name, bare in names.items()}
    if inner := _inner_modules(names.values()):
        wrappers.append("module")
        names = {name: _without_inner(bare, inner) for name, bare in names.items()}
    if any(map(_CHUNKED.fullmatch, names.values())):
        names, chunked = _without_chunks(names)
        wrappers += ["chunks of blocks"] if chunked else []
    return BareNames(names, prefix, tuple(wrappers), _twice(names))


def _twice(names: dict[str, str]) -> str:
    if len(set(names.values())) == len(names):
        return ""
    seen: set[str] = set()
    return next(name for name in names.values() if name in seen or seen.add(name))  # type: ignore[func-returns-value]


def _without_leading(name: str) -> str:
    while name.startswith(_LEADING):
        name = name.partition(".")[2]
    return name


def _without_segments(name: str) -> str:
    parts = name.split(".")
    return ".".join(part for part in parts if part not in _SEGMENTS) or name


def _inner_modules(names: Collection[str]) -> set[str]:
    """The wrapped modules within a network: everything below such a module is below its child `module`.

    A name with a number before it does not count: a wrapper surrounds a part with a name of its own, while a building
    block that calls its content `module` is one of many in a list, as in iFormer.
    """
    found = {name[: name.index(".module.")] + "." for name in names if ".module." in name}
    found = {above for above in found if not re.search(r"(^|\.)\d+\.", above)}
    if len(found) > _MAX_PARTS:
        return set()
    return {
        above for above in found if all(name.startswith(f"{above}module.") for name in names if name.startswith(above))
    }


def _without_inner(name: str, wrapped: set[str]) -> str:
    at = name.find(".module.")
    return name if at < 0 or name[: at + 1] not in wrapped else name[: at + 1] + name[at + len(".module.") :]


def _without_chunks(names: dict[str, str]) -> tuple[dict[str, str], bool]:
    """Renumber blocks that users of FSDP keep in chunks, as in DINOv2: `blocks.0.3.` is block 3.

    This requires that all blocks are in chunks, in at least two of them, and that their numbers are consecutive: in
    lists of lists they restart in each list.
    """
    places: dict[str, dict[int, set[int]]] = {}
    for name in names.values():
        if match := _CHUNKED.fullmatch(name):
            places.setdefault(match[1], {}).setdefault(int(match[2]), set()).add(int(match[3]))
    if len(places) > _MAX_PARTS:
        return names, False
    chunked = {
        before
        for before, chunks in places.items()
        if len(chunks) > 1
        and [number for chunk in sorted(chunks) for number in sorted(chunks[chunk])]
        == list(range(sum(map(len, chunks.values()))))
        and all(_CHUNKED.fullmatch(name) for name in names.values() if name.startswith(before))
    }
    if not chunked:
        return names, False

    def renamed(name: str) -> str:
        match = _CHUNKED.fullmatch(name)
        return f"{match[1]}{match[3]}{match[4]}" if match and match[1] in chunked else name

    return {name: renamed(bare) for name, bare in names.items()}, True
