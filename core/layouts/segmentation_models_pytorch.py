"""segmentation_models_pytorch's own encoders (https://github.com/qubvel-org/segmentation_models.pytorch).

Most of them have timm's keys below `encoder.`. Decoders and heads are left out.
"""

from __future__ import annotations

from zoo.core.layouts import efficientnet_pytorch, torchvision
from zoo.core.layouts.table import Shapes, Table, Twins, below

HEADS = """
-                              decoder.**                   | dropped the decoder
-                              segmentation_head.**         | dropped the decoder
-                              classification_head.**       | dropped it classifies what was segmented
"""

# An encoder has no classifier.
NO_CLASSIFIER = """
fc.*                           -                            | dropped an encoder has no classifier
classifier.*                   -                            | dropped an encoder has no classifier
head.**                        -                            | dropped an encoder has no classifier
last_linear.*                  -                            | dropped an encoder has no classifier
pre_logits.**                  -                            | dropped an encoder has no classifier
"""

_OWN = """
**                             encoder.**
"""

_XCEPTION = """
conv{k}.**                     encoder.conv{k}.**
bn{k}.*                        encoder.bn{k}.*
block{k}.**                    encoder.block{k}.**
"""
_INCEPTION = """
features.{k}.conv.**           encoder.features.{k}.conv.**
features.{k}.bn.*              encoder.features.{k}.bn.*
features.{k}.branch**          encoder.features.{k}.branch**
"""
_PADDED = "the encoder pads layers that timm's model does not pad: outputs differ near the edges until it is tuned"

_MOBILEONE_BLOCK = """
  conv_kxk.{k}.conv.*            rbr_conv.{k}.conv.*
  conv_kxk.{k}.bn.*              rbr_conv.{k}.bn.*
  conv_scale.conv.*              rbr_scale.conv.*
  conv_scale.bn.*                rbr_scale.bn.*
  identity.*                     rbr_skip.*
  attn.fc1.*                     se.reduce.*
  attn.fc2.*                     se.expand.*
"""
_MOBILEONE = f"""
stem.                          encoder.stage0.
{_MOBILEONE_BLOCK}
stages.{{s}}.{{b}}.            encoder.stage{{s+1}}.{{b}}.
{_MOBILEONE_BLOCK}
"""


def _rows_of(layout_tables: tuple[Table, ...], family: str) -> str:
    return next(table.rows for table in layout_tables if table.family == family)


def _in_encoder(rows: str) -> str:
    """The rows of a network below `encoder.`, modules included, without its classifier."""
    kept = [line for line in rows.splitlines() if not line.startswith(("classifier.", "conv_head.weight   class"))]
    return below("encoder.", "\n".join(kept))


_EFFICIENTNET = _in_encoder(_rows_of(efficientnet_pytorch.TABLES, "EfficientNet"))
_MOBILENET_V2 = _in_encoder(_rows_of(torchvision.TABLES, "MobileNetV2"))


def _has_squeeze_excite(shapes: Shapes) -> bool:
    return any(".se." in name for name in shapes)


TABLES = (
    Table(
        "EfficientNet", _EFFICIENTNET + NO_CLASSIFIER + HEADS, (Twins("tf_efficientnet_*"),), fits=_has_squeeze_excite
    ),
    Table("MobileNetV2", _MOBILENET_V2 + NO_CLASSIFIER + HEADS, (Twins("mobilenetv2_*"),)),
    Table("MobileOne", _MOBILEONE + NO_CLASSIFIER + HEADS, (Twins("mobileone_*"),)),
    Table("Xception", NO_CLASSIFIER + _XCEPTION + HEADS, (), note=_PADDED),
    Table("Inception v4", NO_CLASSIFIER + _INCEPTION + HEADS, (), note=_PADDED),
    Table("encoders with timm's keys", NO_CLASSIFIER + _OWN + HEADS, (Twins("*"),)),
)
