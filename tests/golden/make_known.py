"""Write known_architectures.json: the facts of the architectures that zoo cannot build yet, as timm states them.

Their lines of core/identify/layer_digests.json too; `zoo.core.model.build_index` writes those of the others.

    pip install timm==1.0.31 torchvision pyyaml
    PYTHONPATH=tests python -P -m golden.make_known                 every family
    PYTHONPATH=tests python -P -m golden.make_known beit vgg        these anew, the others as they are
    PYTHONPATH=tests python -P -m golden.make_known --prune         leave out what zoo builds now; needs no timm

Rows of names that timm no longer has are kept as they are (they were measured with timm 0.5.4).
"""

import sys
from collections import defaultdict

from zoo.core.architectures import registry
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.architectures.fingerprint import fingerprint
from zoo.core.architectures.known import KNOWN_PATH, KNOWN_SECTION
from zoo.core.architectures.line_table import LineTable, render_line_table
from zoo.core.architectures.records import Weights, module_paths
from zoo.core.identify.similar_architectures import DIGESTS_PATH, DIGESTS_SECTION, layer_digests

CHANNELS_FIRST = {"gemma4_vit"}
"""Families whose linear patch embedding reads (channel, row, column); the other linear ones read the channel last."""

DERIVED = {"hub_id", "first_conv", "classifier", "pool_size"}
COMMON = Weights()


def rows_of_zoo():
    """The names that need no row: zoo builds them."""
    return {name for family in registry.families() for name in registry.variants(family)}


def one_or_list(paths):
    paths = list(module_paths(paths))
    return paths[0] if len(paths) == 1 else paths or None


def short_size(size):
    size = size and tuple(size)
    return size[1] if size and size == (3, size[1], size[1]) else size


def pool_stride(cfgs):
    """The stride from which the pool size of every tag follows, None where there is none."""
    sizes = [(cfg.input_size, cfg.pool_size) for cfg in cfgs]
    if not all(pool for _, pool in sizes):
        return None
    strides = range(1, 129)
    fits = (s for s in strides if all(tuple(p) == (-(-i[1] // s), -(-i[2] // s)) for i, p in sizes))
    return min(fits, key=lambda stride: abs(stride - 32), default=None)


def tag_row(name, tag, cfg, stride):
    """What differs from the defaults of `Weights`."""
    hub_id = cfg.hf_hub_id or ""
    values = {
        "hub_id": None if hub_id == ("" if tag == UNTRAINED else f"timm/{name}.{tag}") else hub_id,
        "pool_size": cfg.pool_size if stride is None and cfg.pool_size else None,
        "hub_file": cfg.hf_hub_filename or "",
        "license": cfg.license,
    }
    for key in ("input_size", "test_input_size", "min_input_size"):
        values[key] = short_size(getattr(cfg, key))
    for key in set(Weights._fields) - values.keys() - DERIVED:
        found = getattr(cfg, key, None)
        values[key] = getattr(COMMON, key) if found is None else found
    return {
        key: value
        for key, value in sorted(values.items())
        if (tuple(value) if isinstance(value, list) else value) != getattr(COMMON, key)
    }


def input_blocks(shapes, first_conv):
    """How many entries a colour has on the input axis."""
    counts = {shapes[f"{path}.weight"][1] // 3 for path in module_paths(first_conv)}
    assert len(counts) <= 1, first_conv
    return counts.pop() if counts else 1


def every_classifier(stated, shapes, num_classes):
    """The stated classifier, and what else has one row a class (LeViT with two heads of which timm names one)."""
    found = list(module_paths(stated))
    for key, shape in shapes.items():
        path, _, role = key.rpartition(".")
        is_head = role == "weight" and len(shape) == 2 and shape[0] == num_classes and "head" in path
        if is_head and not any(f"{path}.".startswith(f"{known}.") for known in found):
            found.append(path)
    return found


def classifier_inputs(name, classifier, num_features):
    """Of each classifier's weight the sizes but the first, the classes; nothing where they are the features."""
    import timm
    import torch

    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in timm.create_model(name, num_classes=1).state_dict().items()}
    weights = [f"{path}.weight" for path in classifier]
    inputs = [list(shapes[weight][1:]) for weight in weights if weight in shapes]
    return {} if inputs == [[num_features]] * len(classifier) else {"classifier_inputs": inputs}


def architecture_rows(name, family):
    """The architecture's rows of the two tables."""
    import timm
    import torch

    with torch.device("meta"):
        model = timm.create_model(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    cfgs = list(timm.models.get_arch_pretrained_cfgs(name).values())
    first_conv = cfgs[0].first_conv
    classifier = every_classifier(cfgs[0].classifier, shapes, model.num_classes)
    for cfg in cfgs:
        assert (cfg.first_conv, cfg.classifier) == (cfgs[0].first_conv, cfgs[0].classifier), name
    stride = pool_stride(cfgs)
    layers = module_paths(first_conv), classifier
    row = {
        "family": family,
        "first_conv": one_or_list(first_conv),
        "classifier": one_or_list(classifier),
        "input_blocks": input_blocks(shapes, first_conv),
        "channels_first": family in CHANNELS_FIRST,
        "num_features": model.num_features,
        **classifier_inputs(name, classifier, model.num_features),
        "pool_stride": stride,
        "fingerprint": fingerprint(shapes, *layers),
        "tags": {cfg.tag or UNTRAINED: tag_row(name, cfg.tag or UNTRAINED, cfg, stride) for cfg in cfgs},
    }
    return row, {"layers": layer_digests(shapes, *layers)}


def main(arguments):
    rows, digests = dict(LineTable(KNOWN_PATH, KNOWN_SECTION)), dict(LineTable(DIGESTS_PATH, DIGESTS_SECTION))
    built = rows_of_zoo()
    if arguments != ["--prune"]:
        import timm

        names = defaultdict(list)
        for family in arguments or timm.list_modules():
            names[family] = [name for name in timm.list_models(module=family) if name not in built]
        for family, members in names.items():
            for name in members:
                rows[name], digests[name] = architecture_rows(name, family)
            sys.stderr.write(f"{family}: {len(members)}\n")
    unbuilt = {name: row for name, row in rows.items() if name not in built}
    KNOWN_PATH.write_text(render_line_table(KNOWN_SECTION, unbuilt))
    named = {name: row for name, row in digests.items() if name in built or name in unbuilt}
    DIGESTS_PATH.write_text(render_line_table(DIGESTS_SECTION, named))


if __name__ == "__main__":
    main(sys.argv[1:])
