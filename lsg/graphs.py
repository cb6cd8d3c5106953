"""Training steps as CUDA graphs: recorded once, then started by one call instead of by hundreds of launches.

A graph repeats the same kernels on the same addresses with the same numbers. So a step is captured anew

- for each batch size;
- when the trainee's tensors are others: after growth, and in every epoch in which gates are drawn;
- when a learning rate, which stands in the graph as a number, is another one: at its drops, and in every
  epoch of APD.

Before each capture one ordinary step is taken; together they take about as long as two ordinary steps, of the
63 to 125 of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import torch
from torch import Tensor

Work = Callable[[], None]
Step = Callable[[Tensor], None]
"""A training step on columns of an epoch's plan, int64 `[4, B]` (see `lsg.batches.Batches.rows`)."""


class Graph(Protocol):
    """One piece of work that can be recorded and repeated."""

    def rehearse(self, work: Work) -> None:
        """Do the work as it is, so that all that is made once is there before it is recorded."""

    def capture(self, work: Work) -> None:
        """Record the work without doing it."""

    def replay(self) -> None:
        """Do what was recorded."""


class CudaGraph:
    """A graph of torch.

    Args:
        draws: what the work draws from; a replay goes on where the generator stands, and may be seeded anew.
    """

    def __init__(self, draws: torch.Generator) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(draws)
        self.stream = _side_stream(draws.device)

    def rehearse(self, work: Work) -> None:
        here = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            work()
        here.wait_stream(self.stream)

    def capture(self, work: Work) -> None:
        with torch.cuda.graph(self.graph, stream=self.stream):
            work()

    def replay(self) -> None:
        self.graph.replay()


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream that everything is captured on. One for all graphs: memory is kept apart by stream."""
    return torch.cuda.Stream(device)


@dataclass
class Repeated:
    """The step for one batch size: ordinary the first time, captured the second time, replayed from then on.

    rows: where the step finds its columns of the plan.
    """

    graph: Graph
    rows: Tensor
    steps: int = 0

    def run(self, step: Step, rows: Tensor) -> None:
        """Take one step on these columns."""
        self.rows.copy_(rows)
        work = partial(step, self.rows)
        if self.steps == 0:
            self.graph.rehearse(work)
        else:
            if self.steps == 1:
                self.graph.capture(work)
            self.graph.replay()
        self.steps += 1


class Graphs:
    """The graphs of one trainee's step, one for each batch size.

    Args:
        make: makes an empty graph.
    """

    def __init__(self, make: Callable[[], Graph]) -> None:
        self.make = make
        self.layout: object = None
        self.rates: tuple[float, ...] = ()
        self.of_size: dict[int, Repeated] = {}

    def stand_for(self, layout: object, rates: tuple[float, ...]) -> None:
        """Drop the graphs unless they were captured for this layout (`Trainee.layout`) and these rates."""
        if layout is not self.layout or rates != self.rates:
            self.layout, self.rates = layout, rates
            self.of_size.clear()

    def run(self, step: Step, rows: Tensor) -> None:
        """Take one step on these columns of the plan."""
        size = rows.shape[1]
        if size not in self.of_size:
            self.of_size[size] = Repeated(self.make(), torch.empty_like(rows))
        self.of_size[size].run(step, rows)
