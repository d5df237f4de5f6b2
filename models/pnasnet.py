"""PNASNet: Liu et al., Progressive Neural Architecture Search (arXiv:1712.00559)."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.core.architectures.configs.pnasnet import PNASNetSpec
from zoo.models.cell_net import CellNet, CellRow
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.searched_cell import CellTable

__getattr__ = family_attributes("pnasnet")

# Figure 1 of the paper: one cell, with and without a stride.
CELL = CellTable(
    (
        (("sep5", "before"), ("max", "before")),
        (("sep7", "last"), ("max", "last")),
        (("sep5", "last"), ("sep3", "last")),
        (("sep3", 2), ("max", "last")),
        (("sep3", "before"), ("same", "last")),
    ),
    outputs=(0, 1, 2, 3, 4),
)


class PNASNet5Large(CellNet):
    """Two cells that stride, then three groups of cells, of which the second and third start with a stride."""

    spec: PNASNetSpec
    first_layer = "conv_0"

    def cell_rows(self) -> Iterator[CellRow]:
        repeats, width = self.spec.repeats, self.spec.width
        yield CellRow("cell_stem_0", CELL, width // 4, 2)
        yield CellRow("cell_stem_1", CELL, width // 2, 2)
        for index in range(3 * repeats):
            group, position = divmod(index, repeats)
            yield CellRow(f"cell_{index}", CELL, width * 2**group, 2 if group and position == 0 else 1)
