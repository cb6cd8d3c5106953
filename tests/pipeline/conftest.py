"""Ray reads its environment when it is imported, so `pipeline`, which sets it, is imported before."""

import pipeline  # noqa: F401
