"""Sequencer: which way its LSTMs read, files of its authors."""

import re

import pytest
import torch

import zoo
from zoo.core.errors import UsageError
from zoo.core.model.load import materialize
from zoo.models.sequencer import Lstm2d, repair_keys


def test_one_lstm_reads_columns_and_the_other_rows():
    torch.manual_seed(0)
    mixer = Lstm2d(4, 3).eval()
    x = torch.randn(2, 3, 5, 4)
    changed = x.clone()
    changed[0, 1, 2] += 1
    with torch.inference_mode():
        differs = (mixer(changed) - mixer(x)).abs().sum(3) > 0
    expected = torch.zeros(2, 3, 5, dtype=torch.bool)
    expected[0, 1] = expected[0, :, 2] = True
    assert torch.equal(differs, expected)


def test_an_lstm_knows_the_parameters_that_it_was_given():
    lstm = torch.nn.LSTM(3, 4, device="meta")
    materialize(lstm)
    assert all(map(torch.Tensor.is_set_to, lstm._flat_weights, lstm.parameters()))


def test_an_image_too_small_for_a_patch():
    assert zoo.create_model("sequencer2d_s", img_size=(56, 70), device="meta").pretrained_cfg["input_size"] == (
        3,
        56,
        70,
    )
    with pytest.raises(UsageError, match="14 or more"):
        zoo.create_model("sequencer2d_s", img_size=13, device="meta")


def authors_name(name):
    name = re.sub(r"^stages\.(\d+)\.blocks\.", r"blocks.\1.", name).replace("head.fc.", "head.")
    # Behind the blocks of the stage before.
    return re.sub(r"^stages\.(\d+)\.downsample\.", lambda stage: f"blocks.{int(stage[1]) - 1}.3.", name)


def test_files_of_the_authors():
    model = zoo.create_model("sequencer2d_s", device="meta")
    own = model.state_dict()
    theirs = {authors_name(name): value for name, value in own.items()}
    assert {"blocks.0.3.down.weight", "blocks.2.7.rnn_tokens.rnn_v.weight_hh_l0_reverse", "head.bias"} <= set(theirs)
    assert repair_keys(theirs, model) == own
    assert repair_keys(own, model) == own
