"""What every test module needs before it imports anything."""

import os

# Tests run side by side, one process a core; more threads than that only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
