"""Networks of cells that a search found: what NASNet and its successors have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import torch.nn as nn
from torch import Tensor

from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.layers.conv_norm_act import conv_factory
from zoo.models.layers.searched_cell import Cell, CellTable

Pair = tuple[Tensor, Tensor]
"""The outputs of the layer before the last and of the last."""


class CellRow(NamedTuple):
    """A cell: module name, table, width of its sums; with `keeps_before` the next cell reads the same first map."""

    name: str
    table: CellTable
    channels: int
    stride: int = 1
    keeps_before: bool = False


class CellNet(ConvNet):
    """A convolution, cells, an activation, pooling, classifier `last_linear`. The trunk carries a `Pair`.

    Features are read where a cell that strides has activated its second input.
    """

    first_layer: ClassVar[str]
    flat: ClassVar[bool] = False
    """As `Cell` has it."""

    def cell_rows(self) -> Iterable[CellRow]:
        """The cells in order; the first one reads the convolution alone."""
        raise NotImplementedError

    def build(self) -> None:
        before = last = self.spec.stem_size
        reduction, halves = 2, False
        conv = conv_factory("batchnorm", "identity", norm_eps=1e-3)
        self.add_module(self.first_layer, conv(self.in_chans, last, 3, 2, pad_type="valid"))
        self.add_level(last, reduction, self.first_layer)
        self.rows = list(self.cell_rows())
        for index, row in enumerate(self.rows):
            cell = Cell(
                row.table, before, last, row.channels, row.stride, halves=halves, opens=index == 0, flat=self.flat
            )
            self.add_module(row.name, cell)
            if index and row.stride > 1:
                self.add_level(last, reduction, f"{row.name}.conv_1x1.act")
            halves, reduction = row.stride > 1, reduction * row.stride
            before, last = before if row.keeps_before else last, row.channels * len(row.table.outputs)
        self.act = nn.ReLU()
        self.add_level(last, reduction, "act")
        self.num_features = last

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield self.first_layer, self._open
        levels = {level["module"] for level in self.feature_info}
        for row in self.rows:
            path = f"{row.name}.conv_1x1.act"
            if path in levels:
                yield path, self._activate(path)
            yield row.name, self._run_cell(row)
        yield "act", lambda pair: self.act(pair[1])

    def _open(self, x: Tensor) -> Any:
        x = self.get_submodule(self.first_layer)(x)
        return x, x

    def _activate(self, path: str) -> Any:
        # All that read the map begin with this activation, and to activate twice changes nothing.
        return lambda pair: (pair[0], self.get_submodule(path)(pair[1]))

    def _run_cell(self, row: CellRow) -> Any:
        def run(pair: Pair) -> Pair:
            before, last = pair
            return before if row.keeps_before else last, self.get_submodule(row.name)(before, last)

        return run

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - the last map of each
        return x[1] if isinstance(x, tuple) else x
