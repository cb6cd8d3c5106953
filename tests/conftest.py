"""What every test run has."""

import os

# One thread, before torch is imported: tiny tensors gain nothing from more, and spinning threads of several
# processes on few cores cost a factor.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray's workers are as nice as the tests beside them: `make test` spreads tests over processes. Files that
# start clusters or servers and wait for them are of one group, "processes": they run one after another.
os.environ.setdefault("RAY_worker_niceness", "0")

pytest_plugins = ["tests.skips", "pytester"]
