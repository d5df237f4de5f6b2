"""Vision transformers: Google's arrays, other image and patch sizes, tokens, pooling."""

import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import zoo
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.model.match import repair_keys
from zoo.models.layers.attention import Attention
from zoo.models.layers.mlp import GluMlp, SwiGLU
from zoo.models.layers.position_embedding import resample_positions
from zoo.models.layers.relative_position import RelativePositionBias

DEPTH, HEADS, WIDTH, GRID = 6, 2, 64, 10
"""Of test_vit, whose images are of 160 pixels."""


@pytest.fixture
def model():
    return zoo.create_model("test_vit", seed=0).eval()


def images(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def google_arrays(state, stacked=False):
    """The state dict of test_vit in the layout of google-research/vision_transformer, or of big_vision with a scan."""
    t = {key: value.numpy() for key, value in state.items()}
    arrays = {
        "embedding/kernel": t["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": t["patch_embed.proj.bias"],
        "cls": t["cls_token"],
        "pos_embedding" if stacked else "Transformer/posembed_input/pos_embedding": t["pos_embed"],
        "Transformer/encoder_norm/scale": t["norm.weight"],
        "Transformer/encoder_norm/bias": t["norm.bias"],
        "head/kernel": t["head.weight"].T,
        "head/bias": t["head.bias"],
    }
    attention, mlp, second = (0, 0, 1) if stacked else (1, 3, 2)
    blocks = []
    for i in range(DEPTH):
        q, k, v = t[f"blocks.{i}.attn.qkv.weight"].reshape(3, HEADS, WIDTH // HEADS, WIDTH)
        biases = t[f"blocks.{i}.attn.qkv.bias"].reshape(3, HEADS, WIDTH // HEADS)
        mha = f"MultiHeadDotProductAttention_{attention}"
        block = {
            "LayerNorm_0/scale": t[f"blocks.{i}.norm1.weight"],
            "LayerNorm_0/bias": t[f"blocks.{i}.norm1.bias"],
            f"LayerNorm_{second}/scale": t[f"blocks.{i}.norm2.weight"],
            f"LayerNorm_{second}/bias": t[f"blocks.{i}.norm2.bias"],
            f"{mha}/out/kernel": t[f"blocks.{i}.attn.proj.weight"].T.reshape(HEADS, WIDTH // HEADS, WIDTH),
            f"{mha}/out/bias": t[f"blocks.{i}.attn.proj.bias"],
        }
        for name, kernel, bias in zip(("query", "key", "value"), (q, k, v), biases, strict=True):
            block[f"{mha}/{name}/kernel"] = kernel.transpose(2, 0, 1)
            block[f"{mha}/{name}/bias"] = bias
        for layer in (0, 1):
            block[f"MlpBlock_{mlp}/Dense_{layer}/kernel"] = t[f"blocks.{i}.mlp.fc{layer + 1}.weight"].T
            block[f"MlpBlock_{mlp}/Dense_{layer}/bias"] = t[f"blocks.{i}.mlp.fc{layer + 1}.bias"]
        blocks.append(block)
    for i, block in enumerate(blocks):
        for key, value in block.items():
            if stacked:
                arrays[f"Transformer/encoderblock/{key}"] = np.stack([b[key] for b in blocks])
            else:
                arrays[f"Transformer/encoderblock_{i}/{key}"] = value
    return arrays


class TestGoogleArrays:
    @pytest.mark.parametrize(("prefix", "stacked"), [("", False), ("opt/target/", False), ("params/", True)])
    def test_load(self, model, tmp_path, prefix, stacked):
        arrays = {prefix + key: value for key, value in google_arrays(model.state_dict(), stacked).items()}
        np.savez(tmp_path / "vit.npz", **arrays)
        found = zoo.create_model("test_vit", checkpoint_path=tmp_path / "vit.npz")
        assert all(torch.equal(value, found.state_dict()[key]) for key, value in model.state_dict().items())
        assert not found.load_report.initialised

    def test_bfloat16(self, model, tmp_path):
        arrays = google_arrays(model.state_dict())
        bits = torch.from_numpy(arrays["head/bias"]).bfloat16()
        arrays["head/bias"] = bits.view(torch.int16).numpy().view("V2")
        np.savez(tmp_path / "vit.npz", **arrays)
        found = zoo.create_model("test_vit", checkpoint_path=tmp_path / "vit.npz")
        assert torch.equal(found.head.bias, bits.float())

    def test_the_layer_before_the_classifier_of_pretraining_is_left_out_and_told(self, model, tmp_path):
        extra = {"pre_logits/kernel": np.zeros((WIDTH, WIDTH)), "pre_logits/bias": np.zeros(WIDTH)}
        np.savez(tmp_path / "vit.npz", **google_arrays(model.state_dict()), **extra)
        report = zoo.create_model("test_vit", checkpoint_path=tmp_path / "vit.npz").load_report
        assert set(report.dropped) == set(extra)

    def test_an_incomplete_attention(self, model):
        arrays = {key: torch.from_numpy(value.copy()) for key, value in google_arrays(model.state_dict()).items()}
        del arrays["Transformer/encoderblock_0/MultiHeadDotProductAttention_1/key/kernel"]
        with pytest.raises(InvalidInputError, match="key"):
            repair_keys(model, arrays)

    def test_hostile_archives(self, model, tmp_path):
        arrays = google_arrays(model.state_dict())
        path = tmp_path / "vit.npz"
        np.savez_compressed(path, bomb=np.zeros(1 << 20))  # an archive may unpack to 100 times its size, as a whole
        with pytest.raises(InvalidInputError, match="over 100 times its size"):
            zoo.create_model("test_vit", checkpoint_path=path)
        np.savez(path, **arrays, objects=np.array([{"a": 1}], dtype=object))
        with pytest.raises(InvalidInputError, match="objects"):
            zoo.create_model("test_vit", checkpoint_path=path)
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
        header += b" " * (117 - len(header)) + b"\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("embedding/kernel.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        with pytest.raises(InvalidInputError, match="1099511627776"):
            zoo.create_model("test_vit", checkpoint_path=path)
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(InvalidInputError):
            zoo.create_model("test_vit", checkpoint_path=path)


class TestOlderKeys:
    def test_registers_of_dinov2(self, tmp_path):
        """Its class token has a position of its own, its patches theirs, its registers none."""
        model = zoo.create_model("test_vit", reg_tokens=4, no_embed_class=True, seed=0)
        state, place = model.state_dict(), torch.randn(1, 1, WIDTH)
        published = {key.replace("reg_token", "register_tokens"): value for key, value in state.items()}
        published["cls_token"] = state["cls_token"] - place
        published["pos_embed"] = torch.cat([place, state["pos_embed"]], 1)
        published["mask_token"] = torch.zeros(1, WIDTH)
        torch.save(published, tmp_path / "dinov2.pth")
        found = zoo.create_model(
            "test_vit", reg_tokens=4, no_embed_class=True, checkpoint_path=tmp_path / "dinov2.pth"
        ).state_dict()
        assert all(torch.allclose(value, found[key], atol=1e-6) for key, value in state.items())

    def test_packed_perceptrons_and_layer_scales(self):
        gated = zoo.create_model("vit_giant_patch14_dinov2", depth=2, device="meta").state_dict()
        scaled = zoo.create_model("deit3_small_patch16_224", depth=2, device="meta").state_dict()
        for name, own, names in (
            ("vit_giant_patch14_dinov2", gated, {".mlp.fc1.": ".mlp.w12.", ".mlp.fc2.": ".mlp.w3."}),
            ("deit3_small_patch16_224", scaled, {".ls1.gamma": ".gamma_1", ".ls2.gamma": ".gamma_2"}),
        ):
            theirs = own
            for ours, published in names.items():
                theirs = {key.replace(ours, published): value for key, value in theirs.items()}
            assert theirs.keys() != own.keys()
            found, unused = repair_keys(zoo.create_model(name, depth=2, device="meta"), theirs)
            assert {key: value.shape for key, value in found.items()} == {k: v.shape for k, v in own.items()}
            assert not unused

    def test_the_norm_goes_where_the_model_has_it(self):
        averaging = zoo.create_model("test_vit", global_pool="avg", device="meta")
        assert list(repair_keys(averaging, {"norm.weight": torch.zeros(1)})[0]) == ["fc_norm.weight"]

    def test_the_encoder_of_a_joint_embedding(self, model, tmp_path):
        encoder = {f"module.{key}": value for key, value in model.state_dict().items()}
        torch.save({"encoder": encoder, "predictor": {"module.x": torch.zeros(1)}, "epoch": 3}, tmp_path / "ijepa.pth")
        found = zoo.create_model("test_vit", checkpoint_path=tmp_path / "ijepa.pth").state_dict()
        assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items())


class TestSizes:
    def test_a_checkpoint_fits_another_image_size(self, model, tmp_path):
        save_file(model.state_dict(), tmp_path / "vit.safetensors")
        found = zoo.create_model("test_vit", img_size=96, checkpoint_path=tmp_path / "vit.safetensors")
        assert found.load_report.resized == ("pos_embed",)
        expected = resample_positions(model.pos_embed, (GRID, GRID), (6, 6), 1)
        assert torch.allclose(found.pos_embed, expected, atol=1e-5)
        assert found.eval()(images(96)).shape == (2, 1000)
        assert found.pretrained_cfg["input_size"] == (3, 96, 96)

    def test_a_checkpoint_fits_another_patch_size(self, model, tmp_path):
        save_file(model.state_dict(), tmp_path / "vit.safetensors")
        found = zoo.create_model("test_vit", patch_size=32, checkpoint_path=tmp_path / "vit.safetensors")
        assert set(found.load_report.resized) == {"patch_embed.proj.weight", "pos_embed"}
        # The resized kernel sees an enlarged image as the old one saw it (arXiv:2212.08013, section 3.4).
        flat = images(1, 1).expand(-1, -1, 16, 16)
        old = model.patch_embed.proj(flat)
        assert torch.allclose(found.patch_embed.proj(flat.repeat(1, 1, 2, 2)), old, atol=1e-4)

    def test_images_of_any_size(self, model):
        """The reference resamples the positions to the grid; for the grid they are made for, nothing changes."""
        assert model(images(64)).shape == (2, 1000)
        assert torch.equal(model.forward_features(images(160)), fixed(model).forward_features(images(160)))
        with pytest.raises(UsageError, match="multiples"):
            model(images(70))
        padded = zoo.create_model("test_vit", dynamic_img_pad=True).eval()
        assert padded(images(70)).shape == (2, 1000)
        assert padded.forward_intermediates(images(70), [-1], intermediates_only=True)[0].shape[2:] == (5, 5)

    def test_a_fixed_size_is_checked(self):
        model = zoo.create_model("test_vit3", img_size=64, seed=0)
        with pytest.raises(UsageError, match="64 x 64, found 96 x 96"):
            model(images(96))


def fixed(model):
    found = zoo.create_model("test_vit", dynamic_img_size=False).eval()
    found.load_state_dict(model.state_dict())
    return found


def test_resampling_keeps_a_constant_and_the_prefix():
    positions = torch.cat([torch.full((1, 2, 4), 7.0), torch.full((1, 12, 4), 3.0)], 1)
    found = resample_positions(positions, (3, 4), (5, 7), 2)
    assert found.shape == (1, 2 + 35, 4)
    assert torch.equal(found[:, :2], positions[:, :2])
    assert torch.allclose(found[:, 2:], torch.tensor(3.0))


class TestTokens:
    def test_intermediates(self, model):
        x = images(160)
        trunk, maps = model.forward_intermediates(x, [0, 5])
        assert torch.equal(trunk, model.forward_features(x))
        tokens = model.forward_intermediates(x, [0, 5], output_fmt="NLC", intermediates_only=True)
        assert torch.equal(maps[1].flatten(2).transpose(1, 2), tokens[1])
        normed = model.forward_intermediates(
            x, [5], norm=True, output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
        )
        assert torch.equal(torch.cat([normed[0][1], normed[0][0]], 1), trunk)
        with pytest.raises(UsageError, match="NHWC"):
            model.forward_intermediates(x, output_fmt="NHWC")

    def test_pooling(self, model):
        x = model.forward_features(images(160))
        assert torch.equal(model.forward_head(x, pre_logits=True), x[:, 0])
        model.reset_classifier(3, "avg")
        assert torch.allclose(model.forward_head(x, pre_logits=True), x[:, 1:].mean(1))
        assert model(images(160)).shape == (2, 3)
        for pool in ("map", "catavgmax"):
            with pytest.raises(UsageError, match=pool):
                model.reset_classifier(3, pool)
        with pytest.raises(UsageError, match="class token"):
            zoo.create_model("test_vit2", global_pool="token")

    def test_attention_pool_goes_with_its_pooling(self):
        model = zoo.create_model("test_vit3", seed=0).eval()
        assert any(key.startswith("attn_pool.") for key in model.state_dict())
        model.reset_classifier(5, "avg")
        assert not any(key.startswith("attn_pool.") for key in model.state_dict())
        assert model(images(160)).shape == (2, 5)

    def test_patches_are_dropped_in_training_only(self):
        model = zoo.create_model("test_vit", patch_drop_rate=0.75, seed=0).train()
        assert model.forward_features(images(160)).shape == (2, 1 + 25, WIDTH)
        assert model.eval().forward_features(images(160)).shape == (2, 1 + 100, WIDTH)


def test_distilled_training_gives_both_predictions():
    model = zoo.create_model("deit_tiny_distilled_patch16_224", img_size=32, num_classes=4, seed=0).train()
    model.set_distilled_training()
    x = images(32)
    label, teacher = model(x)
    model.eval()
    assert torch.allclose(model(x), (label + teacher) / 2, atol=1e-5)
    model.reset_classifier(7)
    assert [head.weight.shape[0] for head in model.get_classifier()] == [7, 7]
    assert model(x).shape == (2, 7)


def test_attention_is_the_formula():
    torch.manual_seed(0)
    layer, x = Attention(12, 3).double().eval(), torch.randn(2, 5, 12, dtype=torch.float64)
    q, k, v = (part.reshape(2, 5, 3, 4).transpose(1, 2) for part in layer.qkv(x).chunk(3, 2))
    weights = torch.softmax(q @ k.transpose(2, 3) / 2, -1)
    assert torch.allclose(layer(x), layer.proj((weights @ v).transpose(1, 2).reshape(2, 5, 12)))


def test_parts_of_attention_that_are_passed_in():
    torch.manual_seed(0)
    layer, x = Attention(12, 3, qkv_bias="qv").eval(), torch.randn(2, 6, 12)
    assert list(layer.state_dict())[:3] == ["q_bias", "v_bias", "qkv.weight"]
    layer.reset_parameters()
    assert not layer.q_bias.any()
    torch.nn.init.normal_(layer.q_bias)
    torch.nn.init.normal_(layer.v_bias)
    positions = RelativePositionBias((2, 3), 3)
    positions.reset_parameters()
    q, k, v = layer.qkv(x).chunk(3, 2)
    q, k, v = (part.reshape(2, 6, 3, 4).transpose(1, 2) for part in (q + layer.q_bias, k, v + layer.v_bias))
    angles = torch.rand(6, 2)
    factors = torch.polar(torch.ones_like(angles), angles)
    points = (torch.view_as_complex(part.unflatten(3, (2, 2)).contiguous()) for part in (q, k))
    q, k = (torch.view_as_real(part * factors).flatten(3) for part in points)
    rotary = torch.stack([angles.cos(), angles.sin()]).repeat_interleave(2, -1)
    weights = torch.softmax(q @ k.mT / 2 + positions(), -1)
    expected = layer.proj((weights @ v).transpose(1, 2).reshape(2, 6, 12))
    assert torch.allclose(layer(x, positions(), rotary), expected, atol=1e-6)
    assert torch.allclose(torch.jit.script(layer)(x, positions(), rotary), expected, atol=1e-6)


def test_gated_perceptrons_agree():
    """The packed one with both halves of the weights side by side is the other."""
    torch.manual_seed(0)
    split, packed = SwiGLU(6, 8), GluMlp(6, 16, act="silu", gate_last=False)
    with torch.no_grad():
        for name in ("weight", "bias"):
            both = torch.cat([getattr(split.fc1_g, name), getattr(split.fc1_x, name)])
            getattr(packed.fc1, name).copy_(both)
        packed.fc2.load_state_dict(split.fc2.state_dict())
    x = torch.randn(3, 6)
    expected = split.fc2(F.silu(split.fc1_g(x)) * split.fc1_x(x))
    assert torch.allclose(split(x), expected)
    assert torch.allclose(packed(x), expected)


@pytest.mark.parametrize("name", ["test_vit", "test_vit3"])
def test_exports_for_any_number_of_images(name):
    model = zoo.create_model(name, img_size=64, seed=0).eval()
    program = torch.export.export(model, (images(64),), dynamic_shapes=({0: torch.export.Dim("images")},))
    x = images(64, count=5)
    assert torch.allclose(program.module()(x), model(x), atol=1e-5)
