"""Write tests/golden/<family>.json.gz: what timm, an independent implementation, says of each architecture.

    pip install timm==1.0.31 torchvision pyyaml
    PYTHONPATH=tests python -m golden.make_golden resnet efficientnet

The tests compare zoo with these files and need no timm.
"""

import gzip
import json
import sys
from functools import wraps
from pathlib import Path
from unittest import mock

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.core.architectures import registry

from golden.fill import fill_, image, summary

HERE = Path(__file__).parent
CFG_KEYS = (
    "url", "hf_hub_id", "input_size", "test_input_size", "min_input_size", "fixed_input_size", "interpolation",
    "crop_pct", "test_crop_pct", "crop_mode", "mean", "std", "num_classes", "pool_size", "first_conv", "classifier",
    "license", "origin_url", "paper_ids", "paper_name",
)  # fmt: skip
IN_PLACE_NORM = {"cspdarknet53_iabn": "cspdarknet53", "cspresnext50_iabn": "cspresnext50"}
"""Names that timm no longer has, and those that compute the same: in-place activated batch norm counts no batches."""
SUM_IN_FLOAT32 = {"efficientvit_mit"}
"""Families whose networks sum over a map in float32 whatever their precision, in an order that the CPU decides."""
DROPPED = {
    "densenet121d": ("densenet121", {"stem_type": "deep"}),
    "densenet264": ("densenet264d", {"stem_type": ""}),
}
"""Names that timm no longer has, and how it builds them."""
LARGE = 300_000_000
"""Parameters above which no output is recorded: float64 copies would not fit a small machine."""
LARGE_FAMILY = 100_000_000
"""Parameters of a family's smallest network above which all of the family are run in a form with few blocks."""
SHALLOW = {"depth": 3}
SHALLOW_FORMS = {"nextvit": {"depths": [1, 2, 5, 1]}}
"""Families of smaller networks that are run in such a form, which has blocks of every kind."""


def state_keys(name, **options):
    with torch.device("meta"):
        model = timm.create_model(name, **options)
    return {k: [list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in model.state_dict().items()}


def changed(keys, other):
    return {k: shape for k, (shape, dtype) in other.items() if keys.get(k) != [shape, dtype]}


def default_cfgs(name):
    return {
        full_name.partition(".")[2]: {k: v for k, v in ((k, getattr(cfg, k)) for k in CFG_KEYS) if v not in (None, "")}
        for full_name, cfg in timm.models.get_arch_pretrained_cfgs(name).items()
    }


def flat(key):
    return key.replace(".", "_")


def output_size(name, cfg):
    """A small image that the model takes, or can be built for."""
    side = registry.find_spec(name)[1].small_size
    channels, height, width = cfg.get("min_input_size") or (3, side, side)
    return [channels, max(height, side), max(width, side)]


def in_double(record):
    """Record such networks in float64 throughout, so that the numbers are those of every CPU."""

    @wraps(record)
    def run(name, *args, **options):
        if registry.find_spec(name)[0] not in SUM_IN_FLOAT32:
            return record(name, *args, **options)
        with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
            return record(name, *args, **options)

    return run


@in_double
def outputs(name, cfg, **options):
    size = output_size(name, cfg)
    if cfg["fixed_input_size"]:
        options = {"img_size": size[1:], **options}
    model = fill_(timm.create_model(name, **options).eval())
    x = image(size)
    with torch.inference_mode():
        trunk = model.forward_features(x)
        channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        if channels_last:
            trunk = trunk.permute(0, 3, 1, 2)
        found = {"input_size": size, "logits": summary(model(x))}
        if isinstance(trunk, torch.Tensor):
            found["trunk"] = summary(trunk)
        # Some feature nets of timm are flattened: "stem.0.weight" is "stem_0.weight" there. Others wrap the model.
        state = {flat(k): v for k, v in model.state_dict().items()}
        net = timm.create_model(name, features_only=True, **options).eval().double()
        wrapped = "model." if hasattr(net, "model") else "body." if hasattr(net, "body") else ""
        net.load_state_dict({k: state[flat(k.removeprefix(wrapped))] for k in net.state_dict()})
        # Nets that ask for intermediates turn their maps themselves.
        channels_last = channels_last and type(net).__name__ != "FeatureGetterNet"
        found["maps"] = [
            summary(m.permute(0, 3, 1, 2) if channels_last or m.shape[1] != level["num_chs"] else m)
            for m, level in zip(net(x), net.feature_info.get_dicts(), strict=True)
        ]
    return found


def count_parameters(name):
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name).parameters())


def facts(name, built_with=None, **options):
    with torch.device("meta"):
        # Without gradients: the counter fails on views of parameters.
        model = timm.create_model(name, **options).eval().requires_grad_(False)
        features = timm.create_model(name, features_only=True, **options).feature_info
    cfg = timm.models.get_pretrained_cfg(name).to_dict()  # timm builds some models with the config of another
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *cfg["input_size"], device="meta"))
    keys = {k: [list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in model.state_dict().items()}
    params = sum(p.numel() for p in model.parameters())
    return {
        "keys": keys,
        "params": params,
        "flops": counter.get_total_flops(),
        "num_features": model.num_features,
        "features": {
            "module": features.module_name(),
            "channels": features.channels(),
            "reduction": features.reduction(),
        },
        "in_chans_5": changed(keys, state_keys(name, in_chans=5, **options)),
        "num_classes_17": changed(keys, state_keys(name, num_classes=17, **options)),
        "cfgs": default_cfgs(name),
        "default_tag": cfg.get("tag", ""),
        "outputs": outputs(name, cfg, **options, **built_with or {}) if built_with or params < LARGE else None,
        **({"built_with": built_with} if built_with else {}),
    }


def without_weights(facts):
    """Facts of a network of which there are no published weights, from those of a relative."""
    particular = ("url", "hf_hub_id", "test_input_size", "test_crop_pct")
    cfg = facts["cfgs"][facts["default_tag"]]
    return facts | {"cfgs": {"": {k: v for k, v in cfg.items() if k not in particular}}, "default_tag": ""}


def without_counts(facts):
    """Facts of a network with in-place activated batch norm."""
    return facts | {"keys": {k: v for k, v in facts["keys"].items() if not k.endswith("num_batches_tracked")}}


def main():
    torch.set_num_threads(1)
    for family in sys.argv[1:]:
        rows = {}
        names = timm.list_models(module=family)
        shallow = SHALLOW_FORMS.get(family)
        if min(map(count_parameters, names)) > LARGE_FAMILY:
            shallow = shallow or SHALLOW
        for name in names:
            rows[name] = facts(name, shallow)
            sys.stderr.write(f"{name}\n")
        rows |= {old: without_counts(without_weights(rows[new])) for old, new in IN_PLACE_NORM.items() if new in rows}
        for old, (new, options) in DROPPED.items():
            if new in rows:
                rows[old] = without_weights(facts(new, **options))
        text = json.dumps(rows, separators=(",", ":"), sort_keys=True)
        with open(HERE / f"{family}.json.gz", "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            packed.write(text.encode())


if __name__ == "__main__":
    main()
