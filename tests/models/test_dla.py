"""What the authors' files of DLA hold beside the model."""

import zoo
from zoo.models.dla import unused_keys


def test_projections_that_no_tree_uses():
    model = zoo.create_model("dla34", device="meta")
    theirs = {"level3.project.0.weight", "level3.project.1.running_mean"}
    own = set(model.state_dict())
    assert "level3.tree1.project.0.weight" in own
    assert unused_keys(own | theirs, model) == theirs
    assert unused_keys({*own, "level3.other.weight"}, model) == set()
