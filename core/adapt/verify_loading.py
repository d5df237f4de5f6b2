"""Whether a written file will load, by the loader's own decision and the configuration in the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from glob import escape

from zoo.core.adapt.timm_folder import count_of, num_classes_told
from zoo.core.adapt.verify import Check
from zoo.core.architectures.published import fingerprint_of
from zoo.core.errors import ZooError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.files.tensor_names import first_names
from zoo.core.identify.stray_tensors import stray_tensors
from zoo.core.metadata.stated import METADATA_KEY, changes_tensors
from zoo.core.model.check import CheckReport, CheckRequest, check_tensors


def loads_in_zoo(tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> Check:
    """Check what `create` would make of a file, from names and shapes; no data is read.

    If the architecture's fingerprint does not settle it, the model is built on the meta device, which imports torch. A
    file of an unknown architecture is not compared, and the check passes and says so.

    Args:
        tensors, metadata: of the file.
    """
    stated = json.loads(metadata[METADATA_KEY])
    name = stated["architecture"]
    if not name:
        return Check("create", True, "not built, as the file names no architecture")
    if not fingerprint_of(name):
        return Check("create", True, f"not built, as zoo does not know {name}")
    strays: Sequence[str] = ()
    if not changes_tensors(stated.get("model_args", {})):
        strays = stray_tensors({tensor.name: tensor.shape for tensor in tensors.values()}, name) or ()
    request = CheckRequest(name, allow_unexpected=tuple(map(escape, strays)))
    try:
        report = check_tensors("the file", tensors, metadata, request)
    except ZooError as error:
        return Check("create", False, str(error).rstrip("."))
    return Check("create", report.fits, _told(name, report, strays))


def _told(name: str, report: CheckReport, strays: Sequence[str]) -> str:
    if not report.fits:
        return report.problem.rstrip(".")
    without = f", with --drop for {first_names(strays)}" if strays else ""
    return (
        f"loads into {name} with {count_of(report.in_chans, 'channel')} and {num_classes_told(report.num_classes)}:"
        f" {count_of(len(report.tensors) - len(strays), 'tensor')}{without}"
    )
