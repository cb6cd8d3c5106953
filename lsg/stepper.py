"""Epochs of training steps that the host never looks into.

A step gathers its batch, goes forward and backward, updates, and adds up loss and hits, all by tensors that
stay on the device. On a CPU it runs as it is; on a GPU the same function is captured as a CUDA graph and
replayed (`lsg.graphs`), except for trainees whose steps decide something on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lsg.batches import Batches
from lsg.graphs import Graph, Graphs, Step
from lsg.train_settings import Precision
from lsg.trainee import Trainee


class Stepper:
    """Trains a trainee on batches, epoch after epoch.

    Args:
        precision: of the forward pass.
        make_graph: an empty graph of work that draws from the generator; None where steps run as they are.
    """

    def __init__(
        self,
        trainee: Trainee,
        batches: Batches,
        precision: Precision,
        make_graph: Callable[[torch.Generator], Graph] | None = None,
    ) -> None:
        self.trainee, self.batches, self.precision = trainee, batches, precision
        self.draws = torch.Generator(batches.device)
        self.graphs = None if make_graph is None else Graphs(partial(make_graph, self.draws))
        self.loss = torch.zeros((), device=batches.device)
        self.hits = torch.zeros((), dtype=torch.long, device=batches.device)

    def uniform(self, count: int) -> Tensor:
        """Numbers from [0, 1) on the device."""
        return torch.rand(count, generator=self.draws, device=self.draws.device)

    def epoch(self, epoch: int, rate: float, mask_rate: float, seed: int) -> tuple[float, int]:
        """One pass over the batches; the sum of the losses over the images, and the number classified right.

        Both are summed on the device, so nothing waits for it inside the epoch. `seed` is that of the masks.
        """
        self.draws.manual_seed(seed)
        self.trainee.begin_epoch(epoch, self.uniform)
        self.trainee.network.train()
        self.loss.zero_()
        self.hits.zero_()
        step = self._repeating(partial(self.step, rate, mask_rate), (rate, mask_rate))
        for rows in self.batches.rows(epoch):
            step(rows)
        self.trainee.end_epoch()
        return float(self.loss), int(self.hits)

    def _repeating(self, step: Step, rates: tuple[float, float]) -> Step:
        """The step, by a graph where there may be one."""
        layout = self.trainee.layout
        if self.graphs is None or layout is None:
            return step
        self.graphs.stand_for(layout, rates)
        return partial(self.graphs.run, step)

    def step(self, rate: float, mask_rate: float, rows: Tensor) -> None:
        """One training step on columns of the epoch's plan."""
        images, labels = self.batches.batch(rows)
        logits = self._forward(images)
        loss = cross_entropy(logits, labels)
        penalty = self.trainee.penalty()
        (loss if penalty is None else loss + penalty).backward()
        self.trainee.step(rate, mask_rate, self.uniform)
        self.loss += loss.detach() * len(labels)
        self.hits += (logits.detach().argmax(1) == labels).sum()

    def _forward(self, images: Tensor) -> Tensor:
        """The logits, in float32 whatever they were computed in."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits: Tensor = self.trainee.network(images)
        return logits.float()
