"""NASNet: Zoph et al., Learning Transferable Architectures for Scalable Image Recognition (arXiv:1707.07012)."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.core.architectures.configs.nasnet import NASNetSpec
from zoo.models.cell_net import CellNet, CellRow
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.searched_cell import CellTable

__getattr__ = family_attributes("nasnet")

# Figure 4 of the paper.
NORMAL = CellTable(
    (
        (("sep5", "last"), ("sep3", "before")),
        (("sep5", "before"), ("sep3", "before")),
        (("avg", "last"), ("same", "before")),
        (("avg", "before"), ("avg", "before")),
        (("sep3", "last"), ("same", "last")),
    ),
    outputs=("before", 0, 1, 2, 3, 4),
)
REDUCTION = CellTable(
    (
        (("sep5", "last"), ("sep7", "before")),
        (("max", "last"), ("sep7", "before")),
        (("avg", "last"), ("sep5", "before")),
        (("same", 1), ("avg", 0)),
        (("sep3", 0), ("max", "last")),
    ),
    outputs=(1, 2, 3, 4),
)


class NASNetALarge(CellNet):
    """Two reduction cells, then three groups of normal cells with reduction cells between them."""

    spec: NASNetSpec
    first_layer = "conv0"
    flat = True

    def cell_rows(self) -> Iterator[CellRow]:
        repeats = self.spec.repeats
        channels = self.spec.num_features // 24
        yield CellRow("cell_stem_0", REDUCTION, channels // 4, 2)
        yield CellRow("cell_stem_1", REDUCTION, channels // 2, 2)
        for group in range(3):
            if group:
                yield CellRow(f"reduction_cell_{group - 1}", REDUCTION, channels, 2, keeps_before=True)
            yield from (CellRow(f"cell_{group * repeats + index}", NORMAL, channels) for index in range(repeats))
            channels *= 2
