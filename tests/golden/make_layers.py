"""Write tests/golden/layers.json.gz: which layer timm sorts each parameter into, and which have no weight decay.

PYTHONPATH=tests python -m golden.make_layers resnet18 vit_tiny_patch16_224
"""

import gzip
import json
import sys
from pathlib import Path

import timm
import torch
from timm.models import group_parameters

TARGET = Path(__file__).parent / "layers.json.gz"


def facts(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    parameters = dict(model.named_parameters())
    kept = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    found = {"no_decay": sorted(parameters.keys() & set(kept))}
    for kind, coarse in (("coarse", True), ("fine", False)):
        layers = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
        found[kind] = [layers[parameter] for parameter in parameters]
    return found


if __name__ == "__main__":
    text = json.dumps({name: facts(name) for name in sys.argv[1:]}, separators=(",", ":"), sort_keys=True)
    with open(TARGET, "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(text.encode())
