"""Ways to break the library, for tests that must then fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def moving_all(step: Callable[..., None]) -> Callable[..., None]:
    """An optimizer's step that moves what may not move too."""

    def moving_step(
        self: Any, value: Any, gradient: Any, state: Any, moving: Any, rate: Any, decay: Any
    ) -> None:
        step(self, value, gradient, state, None, rate, decay)

    return moving_step
