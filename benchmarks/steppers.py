"""The training loop's own step, gather and update included, on random images."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.step import BATCH, CLASSES
from lsg.batches import Batches
from lsg.data import Split, Task
from lsg.graphs import Graph
from lsg.initial import initial_weights
from lsg.masked import MaskedTraining
from lsg.masks import GateSchedule
from lsg.networks.architecture import HEAD, Architecture, Widths
from lsg.optimizers import SGD, Adam
from lsg.stepper import Stepper
from lsg.train_settings import Precision
from lsg.update import Masking
from lsg.workspace import Workspace


def noise(shape: tuple[int, ...]) -> Task:
    """A task of one batch of random images."""
    images = torch.randint(256, (BATCH, *shape), dtype=torch.uint8)
    split, middle = Split(images, torch.arange(BATCH) % CLASSES), (0.5,) * shape[0]
    return Task(1, "noise", ("",) * CLASSES, split, split, split, mean=middle, std=middle)


def stepper(
    architecture: Architecture,
    widths: Widths,
    device: str = "cpu",
    precision: Precision = "float32",
    make_graph: Callable[[torch.Generator], Graph] | None = None,
    seed: int = 1,
) -> Stepper:
    """A network of these widths with masks on all kernels but the head's, at the start of an epoch."""
    weights = initial_weights(architecture, widths, CLASSES, seed, 1)
    workspace = Workspace(architecture, widths, CLASSES, (SGD(0.9), Adam()), weights, {}, device)
    workspace.masked[:] = True
    workspace.table.kernel_grid(workspace.masked, HEAD)[:] = False
    masking = Masking("logit", GateSchedule(100.0, 20.0, 20), 1e-4)
    trainee = MaskedTraining(workspace, masking, 4e-5)
    batches = Batches(noise(architecture.image_shape), BATCH, 4, True, seed, torch.device(device))
    own = Stepper(trainee, batches, precision, make_graph)
    trainee.begin_epoch(1, own.uniform)
    trainee.network.train()
    return own
