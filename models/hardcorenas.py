"""HardCoRe-NAS: Nayman et al., HardCoRe-NAS: Hard Constrained diffeRentiable Neural Architecture Search
(arXiv:2102.11646). The search is over blocks of MobileNetV3.
"""

from __future__ import annotations

from zoo.models.entrypoints import family_attributes
from zoo.models.mobilenetv3 import MobileNetV3

__all__ = ["MobileNetV3"]
__getattr__ = family_attributes("hardcorenas")
