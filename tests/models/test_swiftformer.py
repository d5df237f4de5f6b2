"""SwiftFormer: files of its authors."""

import re

import zoo
from zoo.core.model.match import repair_keys

THEIRS = {"stem.": "patch_embed.", "head_dist.": "dist_head.", ".attn.proj.": ".attn.Proj.", ".gamma": ""}


def authors_name(name):
    for ours, theirs in THEIRS.items():
        name = name.replace(ours, theirs)
    name = re.sub(r"^stages\.(\d)\.downsample", lambda stage: f"network.{2 * int(stage[1]) - 1}", name)
    return re.sub(r"^stages\.(\d)\.blocks", lambda stage: f"network.{2 * int(stage[1])}", name)


def test_files_of_the_authors():
    model = zoo.create_model("swiftformer_xs", device="meta")
    own = {key: key for key in model.state_dict()}
    theirs = {authors_name(key): key for key in own}
    assert {"patch_embed.4.bias", "network.5.proj.weight", "network.6.3.attn.Proj.bias"} <= set(theirs)
    assert {"network.6.3.layer_scale_1", "network.6.0.layer_scale", "dist_head.bias"} <= set(theirs)
    assert repair_keys(model, theirs) == (own, ())
    assert repair_keys(model, own) == (own, ())
