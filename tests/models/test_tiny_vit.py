"""TinyViT: files of its authors."""

import zoo
from zoo.models.tiny_vit import unused_keys


def test_indices_of_biases_in_a_file_are_not_missed():
    model = zoo.create_model("tiny_vit_5m_224", device="meta")
    layers = {name.rpartition(".")[0] for name in model.state_dict() if name.endswith(".attention_biases")}
    assert len(layers) == 10
    indices = {f"{layer}.attention_bias_idxs" for layer in layers}
    assert unused_keys({*model.state_dict(), *indices}, model) == indices
