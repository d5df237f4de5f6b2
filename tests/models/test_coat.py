"""CoaT: convolutions that blocks share, and files that hold them once."""

import pytest
import torch

import zoo
from zoo.core.model.load import load_checkpoint


def stored_once(model):
    """As a writer stores it that leaves out further names of one tensor."""
    seen, kept = set(), {}
    for key, value in sorted(model.state_dict().items()):
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            kept[key] = value
    return kept


@pytest.mark.parametrize("name", ["coat_tiny", "coat_lite_tiny"])
def test_files_of_the_authors_load(name, tmp_path):
    model = zoo.create_model(name, seed=1)
    theirs = stored_once(model)
    assert not set(theirs) >= set(model.state_dict())
    unused = ("norm1.weight", "norm1.bias") if name == "coat_tiny" else ("norm2.weight", "norm3.bias", "norm1.bias")
    theirs |= {key: torch.zeros(model.spec.embed_dims[0]) for key in unused}
    path = tmp_path / "authors.pth"
    torch.save({"model": theirs}, path)
    loaded = zoo.create_model(name, seed=2)
    load_checkpoint(loaded, path)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["coat_tiny", "coat_lite_tiny"])
def test_what_blocks_share_stays_one_tensor(name, tmp_path):
    model = zoo.create_model(name, seed=1)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    net = zoo.create_model(name, checkpoint_path=path, features_only=True)
    assert net.cpe2.proj.weight is net.serial_blocks2[1].cpe.proj.weight
    whole = zoo.create_model(name, checkpoint_path=path)
    assert sum(p.numel() for p in whole.parameters()) == sum(p.numel() for p in model.parameters())


def test_images_of_any_size():
    model = zoo.create_model("coat_tiny", seed=0, num_classes=3).eval()
    with torch.inference_mode():
        image = torch.zeros(2, 3, 72, 50)
        assert model(image).shape == (2, 3)
        maps = model.forward_intermediates(image, norm=True, intermediates_only=True)
    assert [tuple(x.shape[2:]) for x in maps] == [(18, 12), (9, 6), (4, 3), (2, 1)]
