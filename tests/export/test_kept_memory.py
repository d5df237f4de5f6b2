"""Memory that stays with the process between batches, by the system's own count of pages that it had to clear."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from zoo.core.export.kept_memory import kept_memory

def pages_cleared():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(16 << 20, np.uint8)[::4096].sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

with kept_memory(), kept_memory():
    pages_cleared()
    inside = pages_cleared()
    large = [np.ones(64 << 20, np.uint8) for _ in range(2)]
    del large
    held = resident()
print(inside, held - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
def test_freed_memory_is_used_again_and_given_back_at_the_end():
    run = subprocess.run([sys.executable, "-P", "-c", PROGRAM], check=True, capture_output=True, text=True)
    cleared, given_back = map(int, run.stdout.split())
    assert cleared < 16 << 20 >> 12  # less than the pages of one of the ten arrays
    assert given_back > 64 << 20 >> 12
