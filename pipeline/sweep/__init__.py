"""Sweeps: many settings of one method on one benchmark, and which of them to take."""
