"""What every test run has."""

import os

# One thread, before torch is imported: tiny tensors gain nothing from more, and spinning threads of several
# processes on few cores cost a factor.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.skips", "pytester"]
