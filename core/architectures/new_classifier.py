"""Initial values of a new classifier, which follow from its name, its shape and a seed alone. Standard library only.

The random bits are those of SHAKE-128 (FIPS 202) of `zoo classifier SEED NAME BLOCK`, so that they depend neither on a
library's generator nor on the machine; a block is 65,536 values. A uniform number is made of 32 bits, a normal one is
the sum of twelve uniform ones of 16 bits (Irwin and Hall's approximation, deviation 1): whole numbers, scaled once.
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
"""Uniform numbers whose sum has the variance 1."""


def initial_values(name: str, shape: Sequence[int], init: ClassifierInit, seed: int) -> Iterator[array[float]]:
    """The float32 values of one tensor of a classifier, block by block.

    Args:
        name: of the tensor, `fc.weight` or `fc.bias`; its end tells which of the two it is.
        shape: (classes, inputs...) of the weight. For the bias give the weight's too: its values depend on the inputs.
        init: the distribution.
        seed: of all tensors of a file.
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
