"""GhostNet's files as its authors name what is in them."""

import torch

import zoo
from zoo.core.model.match import repair_keys


def test_version_3_takes_its_authors_files():
    model = zoo.create_model("ghostnetv3_050", device="meta")
    ours = model.state_dict()
    in_branches = [key for key in ours if "rpr_" in key and ".bn1." in key]
    assert len(in_branches) > 100
    theirs = {key.replace(".bn1.", ".bn.") if key in in_branches else key: value for key, value in ours.items()}
    theirs |= {"total_ops": torch.zeros(1), "blocks.0.0.ghost1.total_params": torch.zeros(1)}
    repaired, unused = repair_keys(model, theirs)
    assert repaired.keys() == ours.keys()
    assert set(unused) == {"total_ops", "blocks.0.0.ghost1.total_params"}
