"""The features of one shard in memory, in their stored form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.core.errors import InvalidInputError
from zoo.core.export.place import Place
from zoo.core.export.plan import DTYPES, ExportPlan
from zoo.core.files.float_bytes import from_float32
from zoo.core.images.inputs.image_input import ImageInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMPY = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}  # numpy has no bfloat16
_BFLOAT16_EXPONENT = 0x7F80


class ShardRows:
    """Rows of the readable images of one shard.

    `index` has the position of each row's image among all inputs, `items` the image, `places` its place or None.
    `values` has, for each level's key, an array (rows, *shape) of the stored dtype (bfloat16 as its bits, uint16).
    """

    def __init__(self, plan: ExportPlan, number: int) -> None:
        import numpy as np

        capacity = len(plan.positions(number))
        self.dtype = plan.storage.dtype
        self.items: list[ImageInput] = []
        self.places: list[Place | None] = []
        self._index = np.empty(capacity, "<i8")
        self._values = {
            level.key: np.empty((capacity, *plan.storage.shape(level)), _NUMPY[self.dtype]) for level in plan.levels
        }

    def __len__(self) -> int:
        return len(self.items)

    @property
    def index(self) -> NDArray[Any]:
        return self._index[: len(self)]

    @property
    def values(self) -> dict[str, NDArray[Any]]:
        return {module: values[: len(self)] for module, values in self._values.items()}

    def append(
        self, position: int, item: ImageInput, features: Sequence[NDArray[Any]], place: Place | None = None
    ) -> int:
        """Store the features of one image.

        Args:
            position: position of the image among all inputs.
            item: the image.
            features: one array per level, float32 with the level's shape.
            place: place of the image on the ground.

        Returns:
            The number of NaN and infinite values after rounding to the stored dtype.

        Raises:
            InvalidInputError: the shape of a map is not the measured one.
        """
        row, nonfinite = len(self), 0
        for (module, stored), computed in zip(self._values.items(), features, strict=True):
            if computed.shape != stored.shape[1:]:
                raise InvalidInputError(
                    f"{item.id}: {module} should have features of shape {stored.shape[1:]}, found {computed.shape}.",
                    hint="Images of different sizes have maps of different sizes: pool them with --pool avg.",
                )
            stored[row] = _encode(computed, self.dtype)
            nonfinite += _count_nonfinite(stored[row], self.dtype)
        self._index[row] = position
        self.items.append(item)
        self.places.append(place)
        return nonfinite


def _encode(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    import numpy as np

    if dtype == "float32":
        return values
    return np.frombuffer(from_float32(values, DTYPES[dtype]), _NUMPY[dtype]).reshape(values.shape)


def _count_nonfinite(stored: NDArray[Any], dtype: str) -> int:
    """The number of NaN and infinite values after rounding: finite float32 values may overflow in half precision."""
    import numpy as np

    if dtype == "bfloat16":
        return int(np.count_nonzero((stored & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT))
    return stored.size - int(np.count_nonzero(np.isfinite(stored)))
