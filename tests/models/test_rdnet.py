"""The keys of the authors' files of RDNet."""

import zoo
from zoo.models.rdnet import repair_keys


def test_the_authors_stem():
    own = list(zoo.create_model("rdnet_tiny", device="meta").state_dict())
    theirs = [f"stem.{key}" if key.startswith("stem.") else key for key in own]
    assert theirs != own
    assert list(repair_keys(dict.fromkeys(theirs), None)) == own
    assert list(repair_keys(dict.fromkeys(own), None)) == own
