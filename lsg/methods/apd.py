"""Additive Parameter Decomposition (Yoon et al., ICLR 2020): shared weights and sparse additions, APD(2).

    theta_t = sigma * sigmoid(M_t) + tau_t                                  in every layer but the head

    minimise  CE(theta_t; x_t, y_t) + decay / 2 (|tau_t|^2 + |M_t|^2  [+ |sigma|^2 at the first task])
              + sparsity (|tau_t|_1 + sum_{j<t} |tau_j|_1) + drift / 2 sum_{j<t} |theta_j - theta_j^old|^2

with theta_j^old = theta_j as the task finds it. Learned for task t: sigma, M_t (one number an output
channel), tau_1 ... tau_t, biases, BatchNorm, head. Fixed: M_j and all else of earlier tasks. tau_t starts as
a copy of sigma. At the end of a task, entries of tau up to `sparsity` become zero. Every `consolidate_every`
tasks what similar tasks' tau have in common moves into tensors of groups (`apd_decomposition`), which stay
as they are until the next time: theta_j = sigma * sigmoid(M_j) + tau_j + local.

Old tasks use the newest sigma, so they may drift: the method forgets. A task's file holds the whole state
after it: sigma, groups, and for each task M, its non-zero tau, and its private tensors.

From the official code (jaehong31/APD; docs/methods.md), through the shared loop: Adam with a rate of its own
that decays every epoch; batch size, epochs, augmentation and the use of the last epoch are the loop's
(official: batches of 100, the best of the last five epochs on validation). Its factor 10 on all gradients is
a tenth of Adam's epsilon here. There M_j also gets gradients, though meant to be fixed; and tau is cut off at
each test only, where here what is cut off is gone, so that what is stored is what is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lsg import initial, seeds
from lsg.data import Task
from lsg.initial import initial_weights
from lsg.methods.apd_decomposition import Adaptation, Decomposition, Tensors, gate, pruned
from lsg.methods.method import Growing, Lesson, Method
from lsg.networks.architecture import HEAD, Architecture, without_head
from lsg.plain import PlainTraining
from lsg.protocol import Protocol
from lsg.schedules import MaskRates
from lsg.settings import require
from lsg.training import Stage, Trainer
from lsg.workspace import default_private

HEAD_WEIGHT = f"{HEAD}.weight"
EPSILON = 1e-9
"""Of Adam: the official 1e-8 over the official factor 10 on gradients."""


@dataclass(frozen=True)
class ApdSettings:
    """Coefficients of APD (defaults: the official script of CIFAR-100 Split).

    lr, lr_decay: Adam's rate, and its factor from one epoch to the next.
    decay: on tau_t and M_t, at the first task on sigma too (1e-4).
    sparsity: of the L1 terms, and the size up to which an entry of tau is zero (4e-4; Superclass 6e-4).
    drift: on changes of earlier tasks' weights (100).
    consolidate_every: tasks between two consolidations (5).
    clusters: groups for each `consolidate_every` tasks learned (2).
    gap: widest spread of values that a group shares (1e-2).
    """

    lr: float = 1e-3
    lr_decay: float = 0.95
    decay: float = 1e-4
    sparsity: float = 4e-4
    drift: float = 100.0
    consolidate_every: int = 5
    clusters: int = 2
    gap: float = 1e-2

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "over 0")
        require(0 < self.lr_decay <= 1, "lr_decay", self.lr_decay, "over 0 and at most 1")
        for name in ("decay", "sparsity", "drift", "gap"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        every = self.consolidate_every
        require(every >= 2, "consolidate_every", every, "2 or more")
        require(1 <= self.clusters <= every, "clusters", self.clusters, "from 1 to consolidate_every")

    def rates(self, epochs: int) -> MaskRates:
        """The rate of each epoch, as the loop's second schedule, which elsewhere is that of masks."""
        later = range(1, epochs)
        drops = tuple(epoch / epochs for epoch in later)
        return MaskRates(self.lr, drops, tuple(self.lr_decay**epoch for epoch in later))


class Additive(nn.Module):
    """One layer in training: M_t and tau_t, and what holds earlier tasks' weights where they are.

    Args:
        mask: M_t, `[outputs]`.
        tau: tau_t in the weight's shape.
        earlier: tau_j of the tasks before, `[t - 1, ...]`.
        gates: their sigmoid(M_j), to broadcast over `earlier`.
        old: their weights now less what groups share, which does not change: sigma * gates + earlier.
    """

    def __init__(self, mask: Tensor, tau: Tensor, earlier: Tensor, gates: Tensor, old: Tensor) -> None:
        super().__init__()
        self.mask, self.tau, self.earlier = (nn.Parameter(value) for value in (mask, tau, earlier))
        self.earlier.grad = torch.zeros_like(earlier)
        self.gates: Tensor
        self.old: Tensor
        self.register_buffer("gates", gates, persistent=False)
        self.register_buffer("old", old, persistent=False)

    def theta(self, sigma: Tensor) -> Tensor:
        """sigma * sigmoid(M_t) + tau_t."""
        return sigma * gate(self.mask, sigma.dim()) + self.tau

    def penalty(self, decay: float, sparsity: float) -> Tensor:
        """The task's own terms of the loss: decay / 2 (|tau_t|^2 + |M_t|^2) + sparsity |tau_t|_1."""
        squares = self.tau.square().sum() + self.mask.square().sum()
        return decay / 2 * squares + sparsity * self.tau.abs().sum()

    @torch.no_grad()
    def hold(self, sigma: nn.Parameter, drift: float, sparsity: float) -> None:
        """Add the gradients of drift / 2 |theta_j - theta_j^old|^2 + sparsity |tau_j|_1 of earlier tasks.

        There are t - 1 times as many numbers here as weights, so this is most of a step's work: in place
        and without autograd it takes a quarter of the time.
        """
        assert sigma.grad is not None
        assert self.earlier.grad is not None
        for tau, on, old, gradient in zip(self.earlier, self.gates, self.old, self.earlier.grad, strict=True):
            change = torch.addcmul(tau, sigma, on).sub_(old)
            sigma.grad.addcmul_(change, on, value=drift)
            torch.sign(tau, out=gradient).mul_(sparsity).add_(change, alpha=drift)


class DecomposedNetwork(nn.Module):
    """Task t's network in training. The body's own weights are sigma; it computes with theta_t.

    Args:
        body: a plain network with the task's biases, BatchNorm and head.
        layers: the parts of every layer by its name.
        first: whether this is the first task.
    """

    def __init__(self, body: nn.Module, layers: Mapping[str, Additive], first: bool) -> None:
        super().__init__()
        self.body, self.first = body, first
        self.names = tuple(layers)
        self.layers = nn.ModuleList(layers.values())

    def parts(self) -> dict[str, tuple[nn.Parameter, Additive]]:
        """sigma and the additive parts of each layer."""
        found = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            assert isinstance(layer, Additive)
            found[name] = (self.body.get_parameter(f"{name}.weight"), layer)
        return found

    def forward(self, images: Tensor) -> Tensor:
        thetas = {f"{name}.weight": layer.theta(sigma) for name, (sigma, layer) in self.parts().items()}
        logits: Tensor = functional_call(self.body, thetas, (images,))
        return logits

    def penalty(self, settings: ApdSettings) -> Tensor:
        """The loss beside the cross entropy, without the terms of earlier tasks."""
        terms = []
        for sigma, layer in self.parts().values():
            terms.append(layer.penalty(settings.decay, settings.sparsity))
            if self.first:
                terms.append(settings.decay / 2 * sigma.square().sum())
        return torch.stack(terms).sum()

    def hold(self, settings: ApdSettings) -> None:
        """Add the gradients of the earlier tasks' terms."""
        for sigma, layer in self.parts().values():
            layer.hold(sigma, settings.drift, settings.sparsity)


class Apd(Method):
    """Shared weights, and for each task a mask over channels and sparse additions."""

    Settings: ClassVar[type] = ApdSettings
    grows: ClassVar[Growing | None] = "default"
    steps_by_torch: ClassVar[bool] = True
    forgets = True
    settings: ApdSettings

    def __init__(
        self, architecture: Architecture, settings: ApdSettings, protocol: Protocol, seed: int
    ) -> None:
        super().__init__(architecture, settings, protocol, seed)
        self.state = Decomposition()
        self.layers = tuple(layer.name for layer in architecture.layers)

    def learn(self, task: Task, goal: float | None, trainer: Trainer) -> Lesson:
        network = self._begin(task).to(trainer.device)
        on_second_schedule = {"params": list(network.parameters()), "mask": True}  # weights and M_t alike
        optimizer = torch.optim.Adam([on_second_schedule], eps=EPSILON, fused=True)
        training = PlainTraining(
            network,
            optimizer,
            self._macs(task, trainer),
            penalty=lambda: network.penalty(self.settings),
            before_step=lambda: network.hold(self.settings),
        )
        rates = self.settings.rates(trainer.settings.epochs)
        trainer.run(Stage(number=1, mask_rates=rates), training, task)
        self._take(task.number, network.cpu())
        reached = self.judge(self.network(task.number), task, trainer)
        lesson = Lesson("trained", stage_accuracy={1: reached})
        if len(self.state.tasks) % self.settings.consolidate_every == 0:
            self._consolidate(task.number)
            lesson.reason = "consolidated"
        return lesson

    def _macs(self, task: Task, trainer: Trainer) -> int:
        """MACs of an image: the network's, and its share of the products with sigma that each step makes."""
        streams = self.architecture.streams
        products = (len(self.state.tasks) + 1) * self.architecture.weights(streams)
        return self.architecture.macs(streams, len(task.classes)) + products // trainer.settings.batch_size

    def _begin(self, task: Task) -> DecomposedNetwork:
        """The task's network before its first step."""
        body = self.architecture.make(self.architecture.streams, len(task.classes))
        sigma = self.state.sigma or self._initial_sigma(body, task)
        weights = {f"{name}.weight": weight for name, weight in sigma.items()}
        body.load_state_dict(self._first_private(task) | weights, strict=False)
        layers = {
            name: self._additive(
                name, sigma[name], seeds.generator("cpu", "mask", self.seed, task.number, place)
            )
            for place, name in enumerate(self.layers)
        }
        return DecomposedNetwork(body, layers, first=not self.state.tasks)

    def _initial_sigma(self, body: nn.Module, task: Task) -> Tensors:
        """Normal with variance 1 / fan-in (the official initialiser): theta_1 then starts near Kaiming's."""
        streams = self.architecture.streams
        grids = initial_weights(self.architecture, streams, len(task.classes), self.seed, task.number)
        return {
            name: grids[name].view_as(body.get_parameter(f"{name}.weight")) * math.sqrt(0.5)
            for name in self.layers
        }

    def _first_private(self, task: Task) -> Tensors:
        """Biases and BatchNorm of the task before, if there is one; a new head."""
        architecture, streams, classes = self.architecture, self.architecture.streams, len(task.classes)
        start = {
            name: default_private(name, architecture.channels(stream, streams, classes), torch.float32)
            for name, stream in architecture.private_streams().items()
        }
        if self.state.tasks:
            start |= without_head(list(self.state.tasks.values())[-1].private)
        _, inputs, _ = architecture.shape(architecture.head, streams, classes)
        head = initial.draw(architecture, architecture.head, classes, inputs, self.seed, task.number)
        return start | {HEAD_WEIGHT: head.flatten(1)}

    def _additive(self, name: str, sigma: Tensor, draws: torch.Generator) -> Additive:
        """A layer's parts at the start: M_t from N(0, 1 / outputs), tau_t equal to sigma."""
        outputs, count = len(sigma), len(self.state.tasks)
        mask = torch.randn(outputs, generator=draws) / math.sqrt(outputs)
        earlier = torch.zeros(count, *sigma.shape)
        gates = torch.zeros(count, outputs, *[1] * (sigma.dim() - 1))
        for place, adaptation in enumerate(self.state.tasks.values()):
            earlier[place] = adaptation.tau[name]
            gates[place] = gate(adaptation.masks[name], sigma.dim())
        return Additive(mask, sigma.clone(), earlier, gates, sigma * gates + earlier)

    def _take(self, task: int, network: DecomposedNetwork) -> None:
        """Take up sigma, every task's pruned tau, and what is the new task's own."""
        state = {name: tensor.detach().clone() for name, tensor in network.body.state_dict().items()}
        private = {name: state[name] for name in (*self.architecture.private_streams(), HEAD_WEIGHT)}
        self.state.tasks[task] = Adaptation({}, {}, private)
        adaptations = list(self.state.tasks.values())
        for name, (sigma, layer) in network.parts().items():
            self.state.sigma[name] = sigma.detach().clone()
            adaptations[-1].masks[name] = layer.mask.detach().clone()
            for adaptation, tau in zip(adaptations, (*layer.earlier, layer.tau), strict=True):
                adaptation.tau[name] = pruned(tau.detach(), self.settings.sparsity)

    def _consolidate(self, task: int) -> None:
        settings = self.settings
        clusters = settings.clusters * len(self.state.tasks) // settings.consolidate_every
        for place, name in enumerate(self.layers):
            draws = seeds.generator("cpu", "k-means", self.seed, task, place)
            self.state.consolidate(name, clusters, settings.gap, settings.sparsity, draws)

    def network(self, task: int) -> nn.Module:
        private = self.state.tasks[task].private
        network = self.architecture.make(self.architecture.streams, len(private[HEAD_WEIGHT]))
        weights = {f"{name}.weight": self.state.theta(name, task) for name in self.layers}
        network.load_state_dict(private | weights, strict=False)
        return network.eval()

    def tensors(self, task: int) -> dict[str, Tensor]:
        return self.state.tensors()

    def restore(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        self.state = Decomposition.of(tensors)

    def weights(self) -> tuple[int, int]:
        """Non-zero entries, for both counts: what is zero is neither kept nor used."""
        total = self.state.nonzero()
        return total, total
