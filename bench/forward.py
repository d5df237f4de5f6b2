"""How long a forward pass takes against timm's, where timm is installed: each ratio measured in one run.

    python bench/forward.py [NAME ...] [--runs 9] [--batch 8] [--threads 2]

Both models have the same weights, run in one process in turn (float32, eval, inference mode), on the same input; the
ratio is that of the medians. The last line is the geometric mean of the ratios. Names that zoo does not build are
passed over.
"""

import argparse
import statistics
import time

import torch

import zoo

NAMES = (
    "resnet50",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
    "regnety_016",
    "densenet121",
    "mobilenetv3_large_100",
    "eva02_base_patch14_224",
    "beit_base_patch16_224",
    "hrnet_w18",
    "res2net50_26w_4s",
    "ghostnet_100",
    "mobilevit_s",
    "xcit_small_12_p16_224",
    "hiera_tiny_224",
    "mvitv2_tiny",
    "dla60",
    "maxvit_tiny_tf_224",
    "coatnet_0_rw_224",
    "swinv2_tiny_window8_256",
    "fastvit_t8",
    "caformer_s18",
    "focalnet_tiny_srf",
    "davit_tiny",
    "efficientvit_b1",
    "repvit_m1",
    "gcvit_tiny",
)


def seconds(model, x):
    start = time.perf_counter()
    model(x)
    return time.perf_counter() - start


def compare(timm, name, batch, runs):
    """Median seconds of (zoo, timm), and the largest relative difference of their outputs."""
    theirs = timm.create_model(name).eval()
    for parameter in theirs.parameters():
        if not parameter.any():  # the last layer of some, whose outputs would all be equal
            torch.nn.init.normal_(parameter, std=0.02)
    ours = zoo.create_model(name).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(batch, *ours.pretrained_cfg["input_size"])
    with torch.inference_mode():
        found, expected = ours(x), theirs(x)
        difference = ((found - expected).abs().max() / expected.abs().max()).item()
        pairs = []
        for turn in range(runs):
            # Who runs first changes from turn to turn: the second finds warmer caches.
            order = (ours, theirs) if turn % 2 else (theirs, ours)
            times = {model: seconds(model, x) for model in order}
            pairs.append((times[ours], times[theirs]))
    return *(statistics.median(column) for column in zip(*pairs, strict=True)), difference


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    try:
        import timm
    except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
        print(f"timm does not import, so there is nothing to compare with: {error}")
        return
    torch.set_num_threads(arguments.threads)
    ratios = []
    for name in arguments.names:
        if not zoo.is_model(name):
            print(f"{name:<32} not yet in zoo")
            continue
        ours, theirs, difference = compare(timm, name, arguments.batch, arguments.runs)
        ratios.append(ours / theirs)
        print(f"{name:<32} {ours:6.3f} s, timm {theirs:6.3f} s, ratio {ratios[-1]:5.2f}, outputs {difference:.0e}")
    if ratios:
        print(f"{'geometric mean of ' + str(len(ratios)):<32} {statistics.geometric_mean(ratios):43.2f}")


if __name__ == "__main__":
    main()
