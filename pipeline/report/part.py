"""A run of which only some units are finished: what of it may stand in one table."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from pipeline.report.statistics import REFERENCE

Pair = tuple[str, int]
"""A method and a seed."""


def comparable(complete: Iterable[Pair]) -> set[Pair]:
    """The largest block of complete methods under the same seeds, Scratch among them; of equals more methods.

    Tables compare methods under the same seeds, and every transfer is against Scratch. Empty without Scratch.
    """
    pairs = set(complete)
    seeds = sorted(seed for method, seed in pairs if method == REFERENCE)
    blocks = [
        _block(pairs, chosen) for count in range(1, len(seeds) + 1) for chosen in combinations(seeds, count)
    ]
    return max(blocks, key=lambda block: (len(block), len({method for method, _ in block})), default=set())


def _block(pairs: set[Pair], seeds: Iterable[int]) -> set[Pair]:
    chosen = list(seeds)
    methods = {method for method, _ in pairs if all((method, seed) in pairs for seed in chosen)}
    return {(method, seed) for method in methods for seed in chosen}
