"""Checkpoints of timm before 1.0, made by the release that is installed: 0.4.12, 0.5.4, 0.6.13, 0.9.16."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import zoo
from zoo.core.layouts.engine import detect_layout, to_timm
from zoo.core.model.save import stored_tensors, tensors_of


@pytest.fixture(scope="module")
def timm():
    """An old timm; its first releases import a module that torch no longer has."""
    import collections.abc

    gone = SimpleNamespace(container_abcs=collections.abc, string_classes=(str,), int_classes=int)
    sys.modules.setdefault("torch._six", gone)  # type: ignore[arg-type]
    found: ModuleType = pytest.importorskip("timm")
    if not found.__version__.startswith("0."):
        pytest.skip(f"timm {found.__version__} gives its networks the names of today")
    return found


NAMES = (
    "levit_128s", "levit_192", "pit_ti_224", "pit_ti_distilled_224", "swin_tiny_patch4_window7_224", "tresnet_m",
    "vit_base_r50_s16_224_in21k", "swinv2_tiny_window8_256", "deit_tiny_distilled_patch16_224", "convnext_tiny",
    "resnetv2_50", "efficientformer_l1", "maxvit_rmlp_nano_rw_256", "beit_base_patch16_224", "poolformer_s12",
    "sequencer2d_s", "sequencer2d_l", "deit3_small_patch16_224",
)  # fmt: skip
"""Networks that some of the releases, or the authors before them, lay out in another way."""

COMPUTES_OTHERWISE = {
    ("0.5.4", "convnext_tiny"): "its norm of maps took the variance of a sample",
    ("0.6.13", "poolformer_s12"): "it normed before the pooling; the trunk is equal",
    ("0.9.16", "pit_ti_distilled_224"): "its second classifier read the token of the first",
}
"""Releases whose tensors are the same and whose outputs are not, which timm mended since."""


@pytest.mark.parametrize("name", NAMES)
def test_an_old_checkpoint_computes_what_it_did(timm, name):
    if name not in timm.list_models():
        pytest.skip(f"timm {timm.__version__} has no {name}")
    theirs = timm.create_model(name).eval()
    generator = torch.Generator().manual_seed(0)
    for key, tensor in theirs.state_dict().items():
        if (
            tensor.is_floating_point()
            and "attention_bias_idxs" not in key
            and "relative_coords" not in key
            and "attn_mask" not in key
        ):
            values = torch.rand(tensor.shape, generator=generator)
            # Scales and variances are about one; TResNet's are positive, as its activation in place needs them.
            tensor.copy_(values + 0.5 if tensor.ndim == 1 and not key.endswith("bias") else (values - 0.5) / 5)
    stored = stored_tensors(theirs.state_dict())
    layout = detect_layout({tensor.name: tensor.shape for tensor in stored})
    state = tensors_of(to_timm(layout, stored) if layout else stored)
    ours = zoo.create_model(name.removesuffix("_in21k"), num_classes=theirs.num_classes).eval()
    found = ours.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in found.missing_keys)
    if hasattr(theirs, "pre_logits") and list(theirs.pre_logits.parameters()):
        return  # a layer before the classifier, which timm left out since
    if (timm.__version__, name) in COMPUTES_OTHERWISE or "tresnet" in name:  # which needs inplace_abn to compute
        return
    x = torch.rand(1, *ours.pretrained_cfg["input_size"], generator=generator)
    with torch.inference_mode():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)
