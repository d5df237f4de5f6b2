"""Find the weight file in a folder, or explain how the folder stores weights in an unsupported way."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.core.errors import InvalidInputError, NotFoundError

USUAL_NAMES = (
    "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json",
)  # fmt: skip
"""Names that the savers of huggingface_hub and timm use, the preferred first."""
_ENDINGS = ((".safetensors",), (".pth", ".pt", ".ckpt", ".bin", ".pth.tar", ".npz", ".pkl"))
"""Endings of other weight files; like timm, zoo prefers those of the first group."""
_NO_WEIGHTS = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|sampler)[\w.-]*|.*_optim_states\.pt", re.DOTALL
)
"""Files that trainers save next to weights with the same endings."""
_MAX_LISTED = 5


def existing_weight_file(path: Path) -> Path:
    """The weight file at a path, which may be a folder that holds one.

    In a folder, it is the file with a usual name, otherwise the only weight file.

    Raises NotFoundError: there is none, or there are several. InvalidInputError: the folder holds weights that must
    first be merged or converted; the message says how.
    """
    if not path.is_dir():
        if not path.exists():
            raise NotFoundError(f"There is no weight file {path}.", hint="Check the path.", path=str(path))
        return path
    for name in USUAL_NAMES:
        if (path / name).is_file():
            return path / name
    names = sorted(entry.name for entry in path.iterdir())
    if (named := _named(path, names)) is not None:
        raise named
    files = [name for name in names if (path / name).is_file()]
    indices = [name for name in files if re.search(r"\.index(\.\w+)?\.json$", name)]
    groups = [[name for name in files if name.endswith(ends) and not _NO_WEIGHTS.fullmatch(name)] for ends in _ENDINGS]
    found = indices or next(filter(None, groups), [])
    if len(found) == 1:
        return path / found[0]
    if found:
        raise NotFoundError(
            f"The folder {path} holds {len(found)} weight files: {_listed(found)}.",
            hint=f"Name one: {path / found[0]}.",
            path=str(path),
        )
    raise NotFoundError(
        f"The folder {path} holds neither {' nor '.join(USUAL_NAMES[:2])}, nor another weight file"
        f"{f'; it holds {_listed(names)}' if names else ''}.",
        hint="Name the weight file itself.",
        path=str(path),
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(name[:80] for name in names[:_MAX_LISTED]) + more


def _named(path: Path, names: list[str]) -> InvalidInputError | None:
    """The error for a folder that stores weights in a way that zoo does not read; None for any other folder."""
    from shlex import quote

    folder = quote(str(path))
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return _error(
            path,
            "is a checkpoint of torch.distributed.checkpoint",
            f"Merge it: `python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} OUT.pth`.",
        )
    if "zero_to_fp32.py" in names:
        return _error(
            path,
            "is a checkpoint of DeepSpeed in parts",
            f"Merge it: `cd {folder} && python zero_to_fp32.py . OUT`.",
        )
    if any(name.endswith("_optim_states.pt") for name in names) or any(
        re.fullmatch(r"global_step\d+", name) for name in names
    ):
        return _error(
            path,
            "is a part of a checkpoint of DeepSpeed",
            "Merge it with the zero_to_fp32.py that DeepSpeed writes into the folder of the checkpoint.",
        )
    if "saved_model.pb" in names:
        return _error(
            path,
            "is a SavedModel of TensorFlow",
            "Load it with TensorFlow, and save its variables with numpy.savez.",
        )
    if "adapter_config.json" in names:
        return _error(
            path,
            "is an adapter of PEFT, which changes another network's weights",
            "Merge it: `model.merge_and_unload().save_pretrained(OUT)`.",
        )
    if "manifest.ocdbt" in names or "_CHECKPOINT_METADATA" in names:
        return _error(path, "is a checkpoint of Orbax", "Load it with Orbax, and save its arrays with numpy.savez.")
    if "Manifest.json" in names and "Data" in names:
        return _error(path, "is a Core ML package", "Take the checkpoint that it was exported from.")
    if "checkpoint" in names and any(name.endswith(".index") for name in names):
        return _error(
            path, "is a checkpoint of TensorFlow", "Load it with TensorFlow, and save its variables with numpy.savez."
        )
    return None


def _error(path: Path, what: str, hint: str) -> InvalidInputError:
    return InvalidInputError(f"The folder {path} {what}.", hint=hint, path=str(path))
