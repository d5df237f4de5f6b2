"""Write tests/golden/fused.json.gz: the tensors of the form that timm gives a network for inference.

    pip install timm==1.0.31 torchvision
    PYTHONPATH=tests python -P -m golden.make_fused

For every name of FAMILIES whose form differs from the one that is trained: key -> shape. The outputs of both forms are
equal, so the recorded ones of <family>.json.gz hold for both.
"""

import gzip
import json
import sys
from pathlib import Path

import timm
import torch
from timm.models import reparameterize_model

HERE = Path(__file__).parent
FAMILIES = (
    "byobnet", "efficientvim", "efficientvit_msra", "fastvit", "ghostnet", "iformer", "lcnetv2", "levit", "nextvit",
    "repghost", "repvit", "shvit", "tiny_vit",
)  # fmt: skip
"""The modules of timm that define how to join layers; no other module uses theirs."""


def shapes(model):
    return {key: list(tensor.shape) for key, tensor in model.state_dict().items()}


def main():
    fused = {}
    for family in FAMILIES:
        for name in timm.list_models(module=family):
            with torch.device("meta"):
                model = timm.create_model(name).eval()
                joined = shapes(reparameterize_model(model))
            if joined != shapes(model):
                fused[name] = joined
                sys.stderr.write(f"{name}\n")
    text = json.dumps(fused, separators=(",", ":"), sort_keys=True)
    with open(HERE / "fused.json.gz", "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(text.encode())


if __name__ == "__main__":
    main()
