"""Loading: adapted where asked, and nothing lost or left random without a word."""

import pytest
import torch
from safetensors.torch import save_file

import zoo
from zoo.core.errors import InvalidInputError, NotFoundError

NAME = "test_resnet"


@pytest.fixture
def source():
    return zoo.create_model(NAME, seed=1)


@pytest.fixture
def path(source, tmp_path):
    save_file(source.state_dict(), tmp_path / "source.safetensors")
    return tmp_path / "source.safetensors"


def saved(tmp_path, state):
    save_file(state, tmp_path / "changed.safetensors")
    return tmp_path / "changed.safetensors"


def test_a_file_loads_bit_for_bit(source, path):
    model = zoo.create_model(NAME, checkpoint_path=path)
    assert all(torch.equal(t, source.state_dict()[key]) for key, t in model.state_dict().items())
    assert model.load_report.loaded == len(source.state_dict())
    assert not model.load_report.initialised


def test_training_on_mapped_weights_leaves_the_file(source, path):
    before = path.read_bytes()
    model = zoo.create_model(NAME, pretrained=True, pretrained_cfg_overlay={"file": path})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.fc.bias, source.fc.bias)
    assert path.read_bytes() == before


@pytest.mark.parametrize("in_chans", [1, 2, 4, 5, 25])
def test_the_stem_is_adapted_by_the_published_formula(source, path, in_chans):
    weight = source.conv1[0].weight.detach()
    if in_chans == 1:
        expected = weight.sum(1, keepdim=True)
    else:
        expected = weight.repeat(1, 9, 1, 1)[:, :in_chans] * (3 / in_chans)
    for options in ({"checkpoint_path": path}, {"pretrained": True, "pretrained_cfg_overlay": {"file": path}}):
        model = zoo.create_model(NAME, in_chans=in_chans, **options)
        assert torch.equal(model.conv1[0].weight.detach(), expected)
        assert model.load_report.adapted == ("conv1.0.weight",)


def test_another_number_of_classes_makes_a_new_classifier(path):
    model = zoo.create_model(NAME, pretrained=True, pretrained_cfg_overlay={"file": path}, num_classes=7, seed=0)
    assert model.fc.weight.shape[0] == 7
    assert set(model.load_report.initialised) == {"fc.weight", "fc.bias"}
    assert model.fc.weight.isfinite().all()


def test_features_need_the_trunk_alone(source, path, tmp_path):
    whole = zoo.create_model(NAME, features_only=True, out_indices=[1, 2], checkpoint_path=path)
    trunk = saved(tmp_path, whole.state_dict())
    model = zoo.create_model(NAME, features_only=True, out_indices=[1, 2], checkpoint_path=trunk).eval()
    expected = zoo.FeatureListNet(source.eval(), [1, 2])
    x = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(model(x), expected(x), strict=True))


def test_no_classifier_drops_the_files(path):
    model = zoo.create_model(NAME, checkpoint_path=path, num_classes=0)
    assert set(model.load_report.dropped) == {"fc.weight", "fc.bias"}


class TestMismatch:
    def test_a_missing_tensor_is_an_error_unless_named(self, source, tmp_path):
        state = source.state_dict()
        del state["layer2.0.conv1.weight"]
        path = saved(tmp_path, state)
        with pytest.raises(InvalidInputError, match=r"1 missing \(layer2\.0\.conv1\.weight\)"):
            zoo.create_model(NAME, checkpoint_path=path)
        model = zoo.create_model(NAME, checkpoint_path=path, allow_missing=["layer2.0.*"], seed=0)
        assert model.load_report.initialised == ("layer2.0.conv1.weight",)
        assert model.layer2[0].conv1.weight.isfinite().all()

    def test_an_unknown_tensor_is_an_error(self, source, tmp_path):
        path = saved(tmp_path, {**source.state_dict(), "extra.weight": torch.ones(1)})
        with pytest.raises(InvalidInputError, match=r"1 unknown \(extra\.weight\)"):
            zoo.create_model(NAME, checkpoint_path=path)
        model = zoo.create_model(NAME)
        assert zoo.load_checkpoint(model, path, strict=False).dropped == ("extra.weight",)

    def test_another_shape_is_an_error_also_without_strict(self, source, tmp_path):
        path = saved(tmp_path, {**source.state_dict(), "bn1.weight": torch.ones(5)})
        with pytest.raises(InvalidInputError, match=r"bn1\.weight: expected \(32,\), found \(5,\)"):
            zoo.load_checkpoint(zoo.create_model(NAME), path, strict=False)

    def test_a_classifier_of_another_size_is_an_error_for_a_model_that_is_built(self, tmp_path):
        path = saved(tmp_path, zoo.create_model(NAME, num_classes=7).state_dict())
        with pytest.raises(InvalidInputError, match="fc"):
            zoo.load_checkpoint(zoo.create_model(NAME), path)

    def test_a_failed_load_changes_nothing(self, source, tmp_path):
        path = saved(tmp_path, {**source.state_dict(), "extra.weight": torch.ones(1)})
        model = zoo.create_model(NAME, seed=2)
        before = {key: t.clone() for key, t in model.state_dict().items()}
        with pytest.raises(InvalidInputError):
            zoo.load_checkpoint(model, path)
        assert all(torch.equal(before[key], t) for key, t in model.state_dict().items())

    def test_batch_counters_may_be_missing(self, source, tmp_path):
        state = {key: t for key, t in source.state_dict().items() if not key.endswith("num_batches_tracked")}
        model = zoo.create_model(NAME, checkpoint_path=saved(tmp_path, state))
        assert model.bn1.num_batches_tracked == 0
        assert torch.equal(model.bn1.weight, source.bn1.weight)


def test_a_half_precision_file_becomes_the_models_precision(source, tmp_path):
    state = {k: t.half() if t.is_floating_point() else t for k, t in source.state_dict().items()}
    model = zoo.create_model(NAME, checkpoint_path=saved(tmp_path, state))
    assert model.conv1[0].weight.dtype == torch.float32
    assert torch.equal(model.conv1[0].weight, source.conv1[0].weight.half().float())


def test_load_pretrained_reads_a_config(source, path):
    model = zoo.create_model(NAME, in_chans=1)
    cfg = {**model.default_cfg, "file": str(path)}
    zoo.load_pretrained(model, cfg, num_classes=1000, in_chans=1)
    assert torch.equal(model.conv1[0].weight, source.conv1[0].weight.sum(1, keepdim=True))
    with pytest.raises(InvalidInputError, match="in_chans is 3"):
        zoo.load_pretrained(model, cfg, in_chans=3)


def test_a_state_dict_in_memory(source):
    wrapped = {"state_dict": {f"module.{key}": t for key, t in source.state_dict().items()}}
    model = zoo.create_model(NAME, pretrained=True, pretrained_cfg_overlay={"state_dict": wrapped})
    assert torch.equal(model.fc.weight, source.fc.weight)


def test_no_weights_to_load():
    with pytest.raises(NotFoundError, match="resnet200 has no published weights"):
        zoo.create_model("resnet200", pretrained=True)


def test_a_filter_runs_first(source, path):
    model = zoo.create_model(NAME)
    cfg = {**model.default_cfg, "file": str(path)}
    zoo.load_pretrained(model, cfg, filter_fn=lambda state, _model: {k: t * 2 for k, t in state.items()})
    assert torch.equal(model.fc.weight, source.fc.weight * 2)


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_cannot_be_read_is_left_out_on_request(source, tmp_path):
    quantized = torch.quantize_per_tensor(torch.randn(4, 4), 0.1, 0, torch.qint8)
    torch.save(source.state_dict() | {"calibration": quantized}, tmp_path / "net.pth")
    with pytest.raises(InvalidInputError, match="should be dense, found a quantized one") as error:
        zoo.create_model(NAME, checkpoint_path=tmp_path / "net.pth")
    assert "--drop calibration" in error.value.hint
    model = zoo.create_model(NAME, checkpoint_path=tmp_path / "net.pth", drop=["calib*"])
    assert model.load_report.dropped == ("calibration",)
    assert torch.equal(model.state_dict()["fc.weight"], source.state_dict()["fc.weight"])
