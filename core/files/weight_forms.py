"""Recognise weights that a file stores in another form than a network has them: factors, adapters, integers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

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
_ADAPTER = re.compile(r"^(.+)\.lora_(?:A|embedding_A)(?:\..+)?$", re.MULTILINE)
"""A module that peft trained (https://github.com/huggingface/peft)."""
_INTEGERS = re.compile(r"^(.+)\.(?:SCB|(?:weight\.)?quant_state\.bitsandbytes__\w+|zero_point)$", re.MULTILINE)
"""A module of bitsandbytes, in 8 and in 4 bits, or of torch's quantisation."""


def parametrised_weights(names: Collection[str]) -> dict[str, str]:
    """Each weight that is stored in the form of its factors -> the stored tensor that has its shape."""
    found: dict[str, str] = {}
    if not _may_be_parametrised(names):
        return found
    for kind, first, second, _ in _PARAMETRISATIONS:
        for match in _parametrised(names, first, second):
            # In weight norm, the direction has the weight's shape, and the length before it does not.
            stored = f"{match[1]}{second.format(match[2])}" if kind == "weight norm" else match[0]
            found.setdefault(f"{match[1]}.{match[2]}".lstrip("."), stored[1:])
    return found


def _may_be_parametrised(names: Iterable[str]) -> bool:
    """Whether any name may match `_parametrised`: one quick search, since most files have no such name."""
    return bool(_MAYBE_PARAMETRISED.search("\n".join(names)))


def _parametrised(names: Collection[str], first: str, second: str) -> list[re.Match[str]]:
    """Matches for pairs of tensors that stand for one: group 1 is the module after a dot, group 2 the weight."""
    pattern = re.compile(r"(.*)" + re.escape(first).replace(r"\{\}", r"(\w+)"), re.DOTALL)
    matches = (match for name in names if (match := pattern.fullmatch(f".{name}")))
    return [m for m in matches if not second or f"{m[1]}{second.format(m[2])}"[1:] in names]


def other_form(names: Collection[str]) -> str:
    """A sentence about weights that are not stored as they are; "" if there are none."""
    return _factors(names) or _adapters(names) or _integers(names)


def _factors(names: Collection[str]) -> str:
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


def _adapters(names: Collection[str]) -> str:
    adapted = dict.fromkeys(_ADAPTER.findall("\n".join(names)))
    if not adapted:
        return ""
    first = next(iter(adapted)).removeprefix("base_model.model.")
    if any(name.endswith(".base_layer.weight") for name in names):
        return (
            f"{len(adapted)} of its weights have LoRA adapters beside them ({first}):"
            " `merge_and_unload()` of peft, where it was trained, gives plain ones"
        )
    return (
        f"it holds LoRA adapters of {len(adapted)} weights ({first}) without the weights:"
        " load it with peft onto the network that was trained, and save what `merge_and_unload()` gives"
    )


def _integers(names: Collection[str]) -> str:
    found = dict.fromkeys(_INTEGERS.findall("\n".join(names)))
    if not found:
        return ""
    first = next(iter(found)).removeprefix("base_model.model.")
    return (
        f"{len(found)} of its weights are stored as integers, of a quantised network ({first}):"
        " take the file from before it was quantised"
    )
