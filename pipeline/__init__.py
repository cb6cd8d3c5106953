"""The experiment: from params.yaml to tables. Knows the library `lsg`; the library does not know it."""

import os

# Ray reads these when it is imported, and a local cluster without a token fails if they are set later.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
