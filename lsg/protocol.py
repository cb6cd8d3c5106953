"""Which images decide (grow? keep?): the two protocols of an experiment."""

from typing import Literal

Protocol = Literal["clean", "paper"]
DECISION_SPLIT: dict[str, str] = {"clean": "validation", "paper": "test"}
"""Which split decides in which protocol. `paper` decides on test data, as CPG does."""
