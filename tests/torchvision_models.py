"""torchvision's architectures, also beside a torch that its compiled operations were not built for."""

import sys
from types import ModuleType

import pytest
import torch

_ABSENT_OPERATIONS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library = None  # what it defines is forgotten with it


def torchvision_models() -> ModuleType:
    """`torchvision.models`; skips the test where it is not installed.

    Importing it registers two detection operations that only the compiled part defines. Where that is missing, they
    are declared here; no classification model calls them.
    """
    global _library
    try:
        from torchvision import models
    except ImportError:
        pytest.skip("torchvision is not installed")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for operation in _ABSENT_OPERATIONS:
            _library.define(operation)
        from torchvision import models
    return models
