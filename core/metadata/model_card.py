"""A model card for weights on the Hub: https://huggingface.co/docs/hub/model-cards. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.core.architectures.records import PretrainedCfg

UNKNOWN_LICENSE = "other"


def model_card(
    cfg: PretrainedCfg,
    *,
    in_chans: int,
    num_classes: int,
    digests: Mapping[str, str],
    source: str = "",
    method: str = "",
    bands: Sequence[str] = (),
) -> bytes:
    """The text of README.md.

    Args:
        cfg: the weights' config, with their channels, mean and std.
        in_chans, num_classes: those of the weights.
        digests: file -> its SHA-256.
        source: where the weights come from; by default what the config says.
        method: how the input layer was adapted; "" if it was not.
        bands: names of the input channels.
    """
    origin = source or cfg.name
    lines = [
        "---",
        "library_name: timm",
        f"license: {_word(cfg.license or UNKNOWN_LICENSE)}",
        "pipeline_tag: image-classification" if num_classes else "pipeline_tag: image-feature-extraction",
        "tags:",
        "- timm",
        "---",
        "",
        f"# {_text(cfg.architecture)} for {in_chans} input channel{'' if in_chans == 1 else 's'}",
        "",
        f"- **Weights from:** {_text(origin)}",
    ]
    facts = {
        "Origin": cfg.origin_url,
        "Paper": cfg.paper_name or cfg.paper_ids,
        "License of the source": cfg.license or "not stated",
        "Input": f"{' x '.join(map(str, cfg.input_size))} (channels, height, width)",
        "Bands": ", ".join(bands),
        "Mean": ", ".join(f"{value:.6g}" for value in cfg.mean),
        "Standard deviation": ", ".join(f"{value:.6g}" for value in cfg.std),
        "Input layer": f"adapted by the method {method}" if method else "",
        "Classes": str(num_classes or "no classifier"),
    }
    lines += [f"- **{name}:** {_text(value)}" for name, value in facts.items() if value]
    lines += [f"- **SHA-256 of {_text(name)}:** `{digest}`" for name, digest in digests.items()]
    lines += [
        "",
        "```python",
        "import timm  # or: import zoo as timm",
        "",
        'model = timm.create_model("hf-hub:OWNER/REPOSITORY", pretrained=True).eval()',
        "```",
        "",
    ]
    return "\n".join(lines).encode()


def _text(value: str) -> str:
    """Text that stays on its line and is no markup."""
    return "".join(character if character.isprintable() else " " for character in value).replace("<", "&lt;")


def _word(value: str) -> str:
    """A licence as one plain word of YAML."""
    return "".join(character for character in value.lower() if character.isalnum() or character in ".-_") or "other"
