"""Several devices of this machine, as a user names them. Nothing heavy until they are looked for."""

from __future__ import annotations

from collections import Counter

from zoo.core.errors import UsageError

ALL_GPUS = "cuda:all"


def names_several(text: str) -> bool:
    """Whether the text may name several devices: `"cuda:all"`, or a list such as `"cuda:0,cuda:2"`."""
    return text == ALL_GPUS or "," in text


def find_devices(text: str) -> tuple[str, ...]:
    """The devices that the text names, in its order, as `find_device` takes them.

    Raises UsageError: one of them is unknown or not on this machine, stands there twice, or is of another kind.
    """
    import torch

    from zoo.core.export.engine import find_device

    if text == ALL_GPUS:
        found = torch.cuda.device_count()
        if not found:
            find_device("cuda")  # raises, and says why there may be none
        return tuple(f"cuda:{number}" for number in range(found))
    devices = [find_device(name.strip()) for name in text.split(",")]
    names = [f"{device.type}:{device.index or 0}" if device.type == "cuda" else device.type for device in devices]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise UsageError(
            f"Each device computes in one process, and {name} stands {times} times in {text!r}.", hint="Name it once."
        )
    kinds = sorted({device.type for device in devices})
    if len(kinds) > 1:
        # The kind is part of the plan, since it decides the last bits of the features.
        raise UsageError(
            f"The devices of one export are of one kind, found {' and '.join(kinds)}.", hint=f"Choose {ALL_GPUS}."
        )
    return tuple(names)
