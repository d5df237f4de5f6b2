"""What computes features: batches, precision, devices, pooling; rows E7 and E9."""

import copy
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.export import compiled_model
from zoo.core.export import engine as engine_module
from zoo.core.export.batches import compute_in_order
from zoo.core.export.engine import FeatureEngine, count_nonfinite
from zoo.core.export.pool import pooled_model
from zoo.core.model.features import FeatureListNet

from feature_checks import TOLERANCE, batch_norms, difference, maps_of, noise, one_by_one, with_statistics


class OneMap(nn.Sequential):
    """Modules whose last output is the only level."""

    def forward(self, x):
        return [super().forward(x)]


@pytest.fixture(scope="module")
def net():
    """A small network with all its levels, for images of 64 pixels."""
    model = with_statistics(zoo.create_model("test_resnet", seed=0))
    return FeatureListNet(model, range(len(model.feature_info)))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_e9_batch_size_changes_nothing(net, batch_size):
    images = noise(64, 3, 64, 64)
    engine = FeatureEngine(net, (3, 64, 64))
    maps = zip(*map(engine, images.split(batch_size)), strict=True)
    assert difference([torch.cat(level) for level in maps], one_by_one(net, images)) <= TOLERANCE


def test_e9_threads_change_nothing(net):
    images = noise(8, 3, 64, 64)
    engine = FeatureEngine(net, (3, 64, 64))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = engine(images)
        torch.set_num_threads(2)
        two = engine(images)
    finally:
        torch.set_num_threads(before)
    assert difference(two, one) <= TOLERANCE


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_maps_are_plain_float32_whatever_is_inside(net, fuse, channels_last):
    engine = FeatureEngine(net, (3, 64, 64), fuse=fuse, channels_last=channels_last)
    images = noise(2, 3, 64, 64)
    maps = engine(images)
    assert all(m.dtype == torch.float32 and m.is_contiguous() and not m.requires_grad for m in maps)
    assert difference(maps, one_by_one(net, images)) <= TOLERANCE
    assert engine.folded_norms == (len(batch_norms(net)) if fuse else 0)


def test_a_training_model_is_computed_as_in_evaluation_and_stays_in_training(net):
    training = copy.deepcopy(net).train()
    images = noise(2, 3, 64, 64)
    assert difference(FeatureEngine(training, (3, 64, 64))(images), one_by_one(net, images)) <= TOLERANCE
    assert all(module.training for module in training.modules())


def test_any_callable_is_a_model():
    engine = FeatureEngine(lambda images: [images.double() * 2], (3, 4, 4))
    assert torch.equal(engine(torch.ones(2, 3, 4, 4))[0], torch.full((2, 3, 4, 4), 2.0))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_and_recorded(net, precision):
    engine = FeatureEngine(net, (3, 64, 64), precision=precision)
    images = noise(2, 3, 64, 64)
    maps = engine(images)
    assert all(m.dtype == torch.float32 for m in maps)
    assert 1e-5 < difference(maps, one_by_one(net, images)) < 0.1
    assert engine.to_dict()["precision"] == precision


def test_precision_auto_is_bfloat16_only_where_the_hardware_has_it(net, monkeypatch):
    for supported, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=supported: found)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert FeatureEngine(net, (3, 64, 64), precision="auto").precision == expected


def test_e7_overflow_in_half_is_counted_per_image():
    conv = nn.Conv2d(1, 2, 1, bias=False)
    nn.init.constant_(conv.weight, 60000)
    images = torch.stack([torch.zeros(1, 2, 2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]), torch.ones(1, 2, 2)])
    half = FeatureEngine(OneMap(conv), (1, 2, 2), precision="float16").start(images.numpy())()
    assert [features.nonfinite for features in half] == [0, 4, 0]  # 120000 is beyond float16, in both channels
    full = FeatureEngine(OneMap(conv), (1, 2, 2)).start(images.numpy())()
    assert [features.nonfinite for features in full] == [0, 0, 0]
    assert full[1].maps[0].tolist() == [[[60000, 120000], [120000, 60000]]] * 2


def test_e7_nan_and_infinities_are_counted_over_levels():
    first, second = torch.zeros(3, 2, 2, 2), torch.zeros(3, 4)
    first[0, 0, 0, 0] = torch.nan
    first[2, 1] = torch.inf
    second[2, 0] = -torch.inf
    assert count_nonfinite([first, second]) == [1, 0, 5]
    assert count_nonfinite([torch.full((2, 9), 3e38)]) == [0, 0]  # their sum overflows, none of them does


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "The device 'cuda' was asked for, but PyTorch .* finds 0 of its kind"),
        ({"device": "cpu:1"}, "The device 'cpu:1' was asked for"),
        ({"device": "tpu"}, "A device is one of cpu, cuda, mps"),
        ({"device": "cuda:x"}, "not 'cuda:x'"),
        ({"precision": "float8"}, "A precision is one of auto, float32, bfloat16, float16, not 'float8'"),
    ],
)
def test_what_this_machine_has_not_is_named(options, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=message):
        FeatureEngine(lambda images: [images], (3, 4, 4), **options)


def test_a_model_that_cannot_be_compiled_says_so(net, monkeypatch):
    def broken(_model, **_options):
        def run(_images):
            raise RuntimeError("no C++ compiler\nand a long story")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    engine = FeatureEngine(net, (3, 64, 64), compile_model=True)
    with pytest.raises(UsageError, match="could not be compiled: no C\\+\\+ compiler\\."):
        engine(noise(1, 3, 64, 64))


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Where the kernels of these tests are kept, so that the second compiles nothing."""
    return tmp_path_factory.mktemp("state")


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")


@pytest.mark.full
@needs_compiler
def test_a_compiled_model_gives_the_same_for_batches_of_any_number(kernels, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(kernels))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is unset again afterwards
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    model = with_statistics(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()))
    images = noise(7, 3, 16, 16)
    engine = FeatureEngine(OneMap(model), (3, 16, 16), compile_model=True)
    expected = one_by_one(OneMap(model), images)
    assert engine.folded_norms == 1
    assert engine.to_dict()["compiled"] is True
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for number in (5, 2, 1, 5):  # smaller batches take no other compilation
        assert difference(engine(images[:number]), [m[:number] for m in expected]) <= TOLERANCE
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled + 1
    assert difference(engine(images), expected) <= TOLERANCE
    assert list((kernels / "zoo" / "compiled").rglob("*.cpp"))


@pytest.mark.full
@needs_compiler
def test_what_was_compiled_is_found_by_the_next_run(kernels, tmp_path):
    program = (
        "import sys, torch; from torch import nn; from zoo.core.export.engine import FeatureEngine\n"
        "torch.manual_seed(0)\n"
        "class Net(nn.Module):\n"
        "    def __init__(self): super().__init__(); self.conv = nn.Conv2d(3, 8, 3)\n"
        "    def forward(self, x): return [self.conv(x).relu()]\n"
        "FeatureEngine(Net(), (3, 16, 16), compile_model=True)(torch.randn(5, 3, 16, 16))\n"
        "found = torch._dynamo.utils.counters['inductor']\n"
        "print(found['fxgraph_cache_hit'], found['fxgraph_cache_miss'])\n"
    )
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    runs = [
        subprocess.run(
            [sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert [run.stdout.split() for run in runs] == [["0", "1"], ["1", "0"]]


def test_a_compiled_model_that_gives_other_numbers_is_refused(net, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **_: lambda images: [m * 1.001 for m in model(images)])
    engine = FeatureEngine(net, (3, 64, 64), compile_model=True)
    with pytest.raises(InvalidInputError, match=r"Compiled, the model differs by 1\.0e-03 .* more than 1e-05"):
        engine(noise(2, 3, 64, 64))


def test_a_compiled_model_that_is_slower_says_so(net, monkeypatch):
    ticks = iter([0.0, 2.0, 2.0, 22.0])  # 1 s for each of 2 images, then 5 s for each of 4
    monkeypatch.setattr(compiled_model.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    engine = FeatureEngine(net, (3, 64, 64), compile_model=True)
    with pytest.warns(UserWarning, match="Compiled, the model takes 5 times as long: leave out --compile"):
        engine(noise(4, 3, 64, 64))


# ------------------------------------------------------------ GPUs, as far as they can be played


class Gpu:
    """Computes like the CPU. What it was told to do is over only when somebody has waited for it."""

    def __init__(self):
        self.log = []

    def allocate(self, size):
        self.log.append("allocate")
        return np.empty(size, np.float32)

    def end_of_work(self, _device):
        number = self.log.count("start")
        self.log.append("start")
        return lambda: self.log.append(f"wait {number}")


@pytest.fixture
def gpu(monkeypatch):
    played = Gpu()
    monkeypatch.setattr(engine_module, "_runs_beside", lambda _device: True)
    monkeypatch.setattr(engine_module, "pinned_memory", played.allocate)
    monkeypatch.setattr(engine_module, "end_of_work", played.end_of_work)
    return played


def test_a_batch_is_put_together_while_the_one_before_is_computed(net, gpu):
    images = noise(10, 3, 64, 64)
    engine = FeatureEngine(net, (3, 64, 64))

    def taken():
        for number, image in enumerate(images.numpy()):
            if number % 4 == 0:
                gpu.log.append(f"stack {number // 4}")
            yield image

    found = list(compute_in_order(taken(), engine.start, 4, engine.batch_memory))
    assert difference(maps_of(found), one_by_one(net, images)) <= TOLERANCE
    assert [word for word in gpu.log if word != "allocate"] == [
        "stack 0", "start", "stack 1", "start", "wait 0", "stack 2", "start", "wait 1", "wait 2",
    ]  # fmt: skip
    assert gpu.log.count("allocate") == 2


def test_a_batch_that_does_not_fit_into_memory_is_divided_and_the_next_ones_too(net):
    tried = []

    def small(images):
        tried.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")
        return net(images)

    images = noise(10, 3, 64, 64)
    engine = FeatureEngine(small, (3, 64, 64))
    assert difference(engine(images), one_by_one(net, images)) <= TOLERANCE
    assert tried == [10, 5, 2, 2, 2, 2, 2]
    engine(images[:4])
    assert tried[7:] == [2, 2]


def test_an_image_that_does_not_fit_into_memory_is_told():
    def full(_images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")

    with pytest.raises(InvalidInputError, match=r"does not hold one image of 4 x 6 pixels: .* 2\.00 GiB\. Cut tiles"):
        FeatureEngine(full, (3, 4, 6))(noise(3, 3, 4, 6))


# ------------------------------------------------------------ pooling


def test_maps_are_pooled_over_height_and_width(net):
    images = noise(2, 3, 64, 64)
    maps = [m.numpy() for m in one_by_one(net, images)]
    for pool, expected in (("avg", [m.mean((2, 3)) for m in maps]), ("max", [m.max((2, 3)) for m in maps])):
        engine = FeatureEngine(pooled_model(net, pool), (3, 64, 64))
        assert engine.folded_norms == len(batch_norms(net))
        for found, wanted in zip(engine(images), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), wanted, atol=TOLERANCE * np.abs(wanted).max())
    assert pooled_model(net, "none") is net
    assert pooled_model(net, "avg").feature_info is net.feature_info


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "vit_tiny_patch16_224"])
def test_the_class_token_is_the_first_of_the_trunk(name):
    model = zoo.create_model(name, seed=0, img_size=64).eval()
    net = FeatureListNet(model, [1, 11])
    images = noise(2, 3, 64, 64)
    states = []
    model.blocks[1].register_forward_hook(lambda module, inputs, output: states.append(output))
    model.blocks[11].register_forward_hook(lambda module, inputs, output: states.append(output))
    with torch.inference_mode():
        model.forward_features(images)
    found = FeatureEngine(pooled_model(net, "cls"), (3, 64, 64))(images)
    assert difference(found, [tokens[:, 0] for tokens in states]) <= TOLERANCE


def test_the_embedding_is_what_the_classifier_reads():
    model = zoo.create_model("mobilenetv3_small_050", seed=0).eval()
    images = noise(2, 3, 64, 64)
    read = []
    model.classifier.register_forward_hook(lambda module, inputs, output: read.append(inputs[0]))
    with torch.inference_mode():
        model(images)
    found = FeatureEngine(pooled_model(model, "embedding"), (3, 64, 64))(images)
    assert [list(vector.shape) for vector in found] == [[2, 1024]]
    assert difference(found, read) <= TOLERANCE


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "levit_128s"])
def test_the_embedding_of_a_model_with_two_classifiers(name):
    """Where both classifiers are the same, the mean of what they say is what one says of the embedding."""
    model = zoo.create_model(name, seed=0).eval()
    model.head_dist.load_state_dict(model.head.state_dict())
    images = noise(2, 3, 224, 224)
    with torch.inference_mode():
        embedding = model.pool(model.forward_features(images))
        assert embedding.shape == (2, model.num_features)
        torch.testing.assert_close(model.head(embedding), model(images))


def test_the_embedding_of_two_branches_is_both_side_by_side():
    model = zoo.create_model("crossvit_tiny_240", seed=0).eval()
    images = noise(2, 3, 240, 240)
    with torch.inference_mode():
        parts = model.pool(model.forward_features(images)).split(model.spec.embed_dim, dim=1)
        expected = (model.head[0](parts[0]) + model.head[1](parts[1])) / 2
        torch.testing.assert_close(expected, model(images))


def test_an_embedding_needs_a_whole_model(net):
    with pytest.raises(UsageError, match="one of zoo's models"):
        pooled_model(net, "embedding")
    with pytest.raises(UsageError, match="one of zoo's models"):
        pooled_model(zoo.create_model("resnet18", num_classes=0, global_pool=""), "embedding")


def test_pools_that_a_model_has_not(net):
    with pytest.raises(UsageError, match="class token, and this model has none"):
        pooled_model(net, "cls")
    with pytest.raises(UsageError, match="A pool is one of none, avg, max, cls, embedding, logits, not 'median'"):
        pooled_model(net, "median")
