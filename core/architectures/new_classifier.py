"""Initial values of a new classifier, computed from its name, its shape and a seed. Standard library only.

The random bits are the SHAKE-128 (FIPS 202) output for `zoo classifier SEED NAME BLOCK`, so that they depend neither on
a library's generator nor on the machine. A block has 65,536 values. A uniform number takes 32 bits. A normal number is
the sum of twelve uniform numbers of 16 bits (Irwin and Hall's approximation, deviation 1): integers, scaled once.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterator, Sequence
from math import prod, sqrt

from zoo.core.architectures.records import ClassifierInit

_BLOCK = 1 << 16
_TERMS = 12
"""The number of uniform numbers whose sum has variance 1."""


def initial_values(name: str, shape: Sequence[int], init: ClassifierInit, seed: int) -> Iterator[array[float]]:
    """The float32 values of one tensor of a classifier, block by block.

    Args:
        name: the tensor's name, such as `fc.weight` or `fc.bias`; its ending says which of the two it is.
        shape: (classes, inputs...) of the weight. Pass it for the bias too, whose values depend on the inputs.
        init: the distribution.
        seed: the seed for all tensors of a file.
    """
    is_bias = name.endswith(".bias")
    count = shape[0] if is_bias else prod(shape)
    bound = 1 / sqrt(max(prod(shape[1:]), 1))
    if is_bias and init.zero_bias:
        yield array("f", bytes(4 * count))
        return
    if not is_bias and init.kind == "classes":
        bound = 1 / sqrt(max(shape[0], 1))
    for block, start in enumerate(range(0, count, _BLOCK)):
        size = min(_BLOCK, count - start)
        bits = hashlib.shake_128(f"zoo classifier {seed} {name} {block}".encode())
        if init.kind == "normal" and not is_bias:
            sums = map(sum, zip(*[iter(_numbers("H", bits.digest(2 * _TERMS * size)))] * _TERMS, strict=True))
            yield array("f", [init.deviation * ((total + 6) / 65536 - 6) for total in sums])
        else:
            yield array("f", [bound * ((number + 0.5) / 2**31 - 1) for number in _numbers("I", bits.digest(4 * size))])


def _numbers(code: str, data: bytes) -> array[int]:
    numbers = array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
