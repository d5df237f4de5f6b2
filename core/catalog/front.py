"""The models that no other beats in both cost and worth. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A model in the plane of a cost, of which less is better, and a worth, of which more is."""

    name: str
    cost: float
    worth: float


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats, by rising cost: any other costs more or is worth less.

    Of points with the same cost and worth the first counts.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda one: (one.cost, -one.worth)):
        if not front or point.worth > front[-1].worth:
            front.append(point)
    return front
