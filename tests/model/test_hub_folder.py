"""Folders for the Hub: written whole, built again as they were."""

import json

import pytest
import torch

import zoo
from zoo.models import load_state_dict, save_for_hf


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_vit", {"init_values": 1e-5, "num_classes": 0, "dynamic_img_size": True}),
        ("test_vit", {"img_size": (96, 64), "global_pool": "avg", "in_chans": 5}),
        ("test_resnet", {"in_chans": 13, "num_classes": 7, "global_pool": "max"}),
        ("test_efficientnet", {}),
    ],
)
def test_a_model_is_built_again_as_it_was(name, options, tmp_path):
    model = zoo.create_model(name, seed=0, **options)
    save_for_hf(model, tmp_path / "new" / "model")
    again = zoo.create_model(f"local-dir:{tmp_path / 'new' / 'model'}", pretrained=True)
    assert same(model, again)
    assert again.spec == model.spec
    assert again.global_pool == model.global_pool.pool_type
    assert (again.in_chans, again.num_classes, again.img_size) == (model.in_chans, model.num_classes, model.img_size)


def test_a_model_of_another_size_is_built_again(tmp_path):
    model = zoo.create_model("test_vit", seed=0)
    model.set_input_size((96, 128))
    save_for_hf(model, tmp_path / "model")
    again = zoo.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True)
    assert again.img_size == (96, 128)
    assert same(model, again)


def test_pickles_only_where_they_are_asked_for(tmp_path):
    model = zoo.create_model("test_resnet", seed=0)
    save_for_hf(model, tmp_path / "safe")
    save_for_hf(model, tmp_path / "both", safe_serialization="both")
    save_for_hf(model, tmp_path / "pickle", safe_serialization=False)
    names = {kind: sorted(path.name for path in (tmp_path / kind).iterdir()) for kind in ("safe", "both", "pickle")}
    assert names["safe"] == ["README.md", "config.json", "model.safetensors"]
    assert names["both"] == ["README.md", "config.json", "model.safetensors", "pytorch_model.bin"]
    assert names["pickle"] == ["README.md", "config.json", "pytorch_model.bin"]
    for path in (tmp_path / "both" / "model.safetensors", tmp_path / "pickle" / "pytorch_model.bin"):
        found = load_state_dict(path)
        assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


def test_the_card_says_where_the_weights_are_from(tmp_path):
    model = zoo.create_model("vit_tiny_patch16_224", in_chans=5)
    save_for_hf(model, tmp_path / "model", {"label_names": ["a"], "pretrained_cfg": {"license": "mit"}})
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: timm\nlicense: apache-2.0\n")
    assert "vit_tiny_patch16_224.augreg_in21k_ft_in1k" in card
    assert "5 input channels" in card
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["label_names"] == ["a"]
    assert config["pretrained_cfg"]["license"] == "mit"


def test_nothing_is_written_where_an_argument_is_no_json(tmp_path):
    with pytest.raises(zoo.ZooError, match="norm"):
        save_for_hf(zoo.create_model("test_resnet"), tmp_path / "model", model_args={"norm": torch.nn.Identity})
    assert not (tmp_path / "model").exists()


def test_a_folder_with_other_contents_stays(tmp_path):
    save_for_hf(zoo.create_model("test_resnet", seed=0), tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(zoo.ZooError, match="exists"):
        save_for_hf(zoo.create_model("test_resnet", seed=1), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    save_for_hf(zoo.create_model("test_resnet", seed=1), tmp_path / "model", force=True)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != before
