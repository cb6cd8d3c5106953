"""What Scratch and Fine-tune share: an own dense 1x network for each task, trained in one stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lsg.data import Task
from lsg.initial import initial_weights
from lsg.masked import MaskedTraining
from lsg.methods.method import Lesson, Method
from lsg.networks.architecture import HEAD, Architecture, Grids
from lsg.protocol import Protocol
from lsg.training import Stage, Trainer
from lsg.workspace import Workspace


class Dense(Method):
    """A dense 1x network a task; `start` says from which weights and private vectors each begins."""

    def __init__(self, architecture: Architecture, settings: Any, protocol: Protocol, seed: int) -> None:
        super().__init__(architecture, settings, protocol, seed)
        self.states: dict[int, dict[str, Tensor]] = {}

    def start(self, task: Task) -> tuple[Grids, dict[str, Tensor]]:
        """Initial kernels by layer, and private vectors; here fresh ones."""
        classes = len(task.classes)
        return initial_weights(
            self.architecture, self.architecture.streams, classes, self.seed, task.number
        ), {}

    def stage(self) -> Stage:
        """The one stage of training."""
        return Stage(number=1)

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        weights, private = self.start(task)
        optimizer = trainer.settings.weight_optimizer()
        workspace = Workspace(
            self.architecture,
            self.architecture.streams,
            len(task.classes),
            (optimizer, optimizer),
            weights,
            private,
            trainer.device,
            dense=True,
        )
        trainer.run(self.stage(), MaskedTraining(workspace, None, trainer.settings.weight_decay), task)
        grids = {f"{name}.weight": grid.cpu().clone() for name, grid in workspace.weight_grids().items()}
        self.states[task.number] = grids | {name: v.cpu() for name, v in workspace.private_vectors().items()}
        return Lesson("trained", stage_accuracy={1: self.judge(self.network(task.number), task, trainer)})

    def network(self, task: int) -> nn.Module:
        state = self.states[task]
        network = self.architecture.make(self.architecture.streams, len(state[f"{HEAD}.weight"]))
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        network.load_state_dict({name: tensor.view(shapes[name]) for name, tensor in state.items()})
        return network.eval()

    def tensors(self, task: int) -> dict[str, Tensor]:
        return self.states[task]

    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        self.states[task] = dict(tensors)
        self.network(task)  # raises where they are not a task's

    def weights(self) -> tuple[int, int]:
        total = len(self.states) * self.architecture.weights(self.architecture.streams)
        return total, total
