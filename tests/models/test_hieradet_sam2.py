"""The names of SAM 2's own files."""

import torch

import zoo

SMALL = {"embed_dim": 16, "stages": (1, 1, 1, 1), "global_att_blocks": (2,)}


def test_a_file_of_the_whole_of_sam_2(tmp_path):
    source = zoo.create_model("sam2_hiera_tiny", seed=0, **SMALL)
    theirs = {"sam_mask_decoder.iou_token.weight": torch.zeros(1, 256)}
    for key, value in source.state_dict().items():
        if not key.startswith("head."):
            key = key.replace("mlp.fc1", "mlp.layers.0").replace("mlp.fc2", "mlp.layers.1")
            theirs[f"image_encoder.trunk.{key}"] = value
    path = tmp_path / "sam2.pt"
    torch.save({"model": theirs}, path)
    model = zoo.create_model("sam2_hiera_tiny", pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **SMALL)
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(model.eval()(x), source.eval()(x))
