"""Names of tensors without what wrappers put into them, and what parametrisations did to others.

A wrapper (DataParallel, torch.compile, activation checkpointing, FSDP) is a module with one child, so its name is a
segment that says nothing. It is taken off where no two names become one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

_LEADING = ("module.", "_orig_mod.")
_SEGMENTS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_fpw_module")
"""No module of a network has such a name; `module` is one in published networks too."""
_CHUNKED = re.compile(r"((?:.*\.)?blocks\.)(\d{1,4})\.(\d{1,4})(\..+)", re.DOTALL)
_MAX_PARTS = 64
"""Of a network that are wrapped each by itself: with more of them, each would be compared with every name."""
_PARAMETRISATIONS = (
    ("weight norm", ".parametrizations.{}.original0", ".parametrizations.{}.original1",
     'torch.nn.utils.parametrize.remove_parametrizations(module, "{}")'),
    ("weight norm", ".{}_g", ".{}_v", 'torch.nn.utils.remove_weight_norm(module, "{}")'),
    ("a pruning mask", ".{}_mask", ".{}_orig", 'torch.nn.utils.prune.remove(module, "{}")'),
    ("spectral norm", ".{}_orig", ".{}_u", 'torch.nn.utils.remove_spectral_norm(module, "{}")'),
    ("a parametrisation", ".parametrizations.{}.original", "",
     'torch.nn.utils.parametrize.remove_parametrizations(module, "{}")'),
)  # fmt: skip
_MAYBE_PARAMETRISED = re.compile(r"\.parametrizations\.|_(?:g|v|mask|orig|u)$", re.MULTILINE)


class BareNames(NamedTuple):
    """Names as a network has them.

    `names` maps each name to the one without wrappers. `prefix` is what stood before (most of) them, `wrappers` are the
    segments that stood within. `twice` is a name that two tensors would have, "" where none.
    """

    names: dict[str, str]
    prefix: str = ""
    wrappers: tuple[str, ...] = ()
    twice: str = ""


def bare_names(given: Iterable[str]) -> BareNames:
    """The names without wrappers: each as it was where it has none."""
    names = {name: name for name in given}
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
    """The modules that were wrapped within a network: all that is below one is below its child `module`.

    Only where no number stands before it: a wrapper is put round a part that has a name of its own, while a building
    block that calls its inside `module` is one of many in a list, as in iFormer.
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
    """Blocks that FSDP's users keep in chunks, as DINOv2 does: `blocks.0.3.` is block 3.

    Only where all blocks are so, in at least two chunks, and their numbers run through: in lists of lists they begin
    anew in each.
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


def parametrised_weights(names: Collection[str]) -> dict[str, str]:
    """Each weight that is stored as what it is computed from -> the tensor that has its shape."""
    found: dict[str, str] = {}
    if not _may_be_parametrised(names):
        return found
    for kind, first, second, _ in _PARAMETRISATIONS:
        for match in _parametrised(names, first, second):
            # Of weight norm the direction has the shape of the weight, the length before it has not.
            stored = f"{match[1]}{second.format(match[2])}" if kind == "weight norm" else match[0]
            found.setdefault(f"{match[1]}.{match[2]}".lstrip("."), stored[1:])
    return found


def _may_be_parametrised(names: Iterable[str]) -> bool:
    """One search for all that `_parametrised` looks for: nearly all files have none of it."""
    return bool(_MAYBE_PARAMETRISED.search("\n".join(names)))


def _parametrised(names: Collection[str], first: str, second: str) -> list[re.Match[str]]:
    """Where a pair of tensors stands for one: group 1 is the module with a dot before it, group 2 the weight."""
    pattern = re.compile(r"(.*)" + re.escape(first).replace(r"\{\}", r"(\w+)"), re.DOTALL)
    matches = (match for name in names if (match := pattern.fullmatch(f".{name}")))
    return [m for m in matches if not second or f"{m[1]}{second.format(m[2])}"[1:] in names]


def parametrised(names: Collection[str]) -> str:
    """One sentence about weights that are stored as what they are computed from, "" where there are none."""
    if not _may_be_parametrised(names):
        return ""
    for kind, first, second, mend in _PARAMETRISATIONS:
        found = _parametrised(names, first, second)
        if found:
            where = f"{found[0][1]}.{found[0][2]}".lstrip(".")
            return (
                f"{len(found)} of its weights are stored with {kind} ({where}):"
                f" `{mend.format(found[0][2])}` where it was made gives plain ones"
            )
    return ""
