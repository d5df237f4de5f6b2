"""What every test module needs before it imports anything."""

import gc
import os
import signal
import tempfile

import pytest

# What starts the tests may ignore signals (nohup, a background job), which every program that they start inherits.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# Tests run side by side, one process a core; more threads than that only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# oneDNN's AMX kernels give wrong bfloat16 convolutions: 16 channels, kernel and stride 4 (torch 2.13, Sapphire Rapids).
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
# Nor do they write into the state that zoo keeps for the person who runs them.
_STATE = tempfile.TemporaryDirectory(prefix="zoo-tests-")
os.environ["XDG_STATE_HOME"] = _STATE.name
# The Hub's client reads these when it is imported. Without the first it calls home, and no test may.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"


def pytest_collection_finish():
    """The recorded facts of all architectures stay to the end, so no collection of garbage need look through them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _kept_memory():
    """Models come and go by the hundred; to clear their pages anew took half of the time."""
    from zoo.core.export.kept_memory import kept_memory  # after the environment is set

    with kept_memory():
        yield
