"""What every test run has."""

import os

# One thread, before torch is imported: tiny tensors gain nothing from more, and spinning threads of several
# processes on few cores cost a factor.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray's workers are as nice as the tests beside them: `make test` spreads tests over processes. Files that
# start clusters or servers and wait for them are of one group, "processes": they run one after another.
os.environ.setdefault("RAY_worker_niceness", "0")

# Where a person's runs lie and what tracks them is not for tests, which write units and runs of their own.
# CL_LSG_CIFAR100 alone is for tests: where the real images are.
for name in [name for name in os.environ if name.startswith(("CL_LSG_", "MLFLOW_", "RAY_ADDRESS"))]:
    if name != "CL_LSG_CIFAR100":
        del os.environ[name]

pytest_plugins = ["tests.skips", "pytester"]
