"""What DEN does to a module's weights around each step of the optimizer.

Before it the gradients of l2 and of the pull to earlier weights; after it the proximal steps of L1 and of
the group lasso on new units, and frozen kernels and vectors copied back. Thresholds are given for a step at
the official code's rate and scale with the rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import softshrink

from lsg.methods.den_units import Subnet, incoming
from lsg.networks.architecture import HEAD, Grids
from lsg.plain import torch_optimizer
from lsg.train_settings import TrainSettings
from lsg.workspace import is_statistic

OFFICIAL_RATE = 1e-3


@dataclass(frozen=True)
class Terms:
    """What a stage adds to the cross entropy.

    l1, group_lasso: thresholds of one proximal step at the official rate.
    l2, pull: strength of weight decay, and of the bond to `earlier`.
    held, earlier: which kernels `[outputs, inputs, 1]` of each layer are bound to earlier weights, and these.
    frozen: the bound kernels do not move at all, nor do biases and BatchNorm of units before the new ones.
    new: for each stream the place of its first new unit, where new units are under group lasso.
    head_only: only the head is trained.
    """

    l1: float
    l2: float = 0.0
    group_lasso: float = 0.0
    pull: float = 0.0
    held: Mapping[str, Tensor] = field(default_factory=dict)
    earlier: Grids = field(default_factory=dict)
    frozen: bool = False
    new: Mapping[str, int] = field(default_factory=dict)
    head_only: bool = False


class ProximalSteps:
    """The two halves of a stage's step, for a module that began as `subnet.network()`.

    A new unit whose incoming weights have become zero stays at zero, and so does what reads it: deleting it
    then changes nothing, and BatchNorm, which amplifies the gradient of an all-zero filter without bound,
    cannot bring it back.
    """

    def __init__(self, subnet: Subnet, network: nn.Module, terms: Terms) -> None:
        self.architecture, self.network, self.terms = subnet.architecture, network, terms
        self.grids = {name: self._weight(name).detach().view(w.shape) for name, w in subnet.weights.items()}
        self.trained = [HEAD] if terms.head_only else list(self.grids)
        device = self.grids[HEAD].device
        self.held = {name: held.to(device) for name, held in terms.held.items()}
        self.earlier = {name: terms.earlier[name].to(device) for name in self.held}
        self.vectors = self._frozen_vectors()
        self.alive = {stream: norms > 0 for stream, norms in self._norms_of_new().items()}

    def _frozen_vectors(self) -> dict[nn.Parameter, Tensor]:
        """Where earlier units are frozen, their biases and BatchNorm's parameters, as they are now."""
        first = self.terms.new if self.terms.frozen else {}
        vectors = {}
        for name, stream in self.architecture.private_streams().items():
            if stream in first and not is_statistic(name):
                parameter = self.network.get_parameter(name)
                vectors[parameter] = parameter.detach()[: first[stream]].clone()
        return vectors

    def _weight(self, layer: str) -> nn.Parameter:
        weight = self.network.get_submodule(layer).weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def _norms_of_new(self) -> dict[str, Tensor]:
        """Norm of the incoming tensor of each new unit, by stream."""
        new, layers = self.terms.new, self.architecture.layers
        rows = {layer.name: self.grids[layer.name][new[layer.target] :] for layer in layers if new}
        return incoming(self.architecture, rows) if new else {}

    def before(self) -> None:
        """Add the gradients of l2 and of the pull; the head has neither."""
        for name in self.trained:
            gradient = self._weight(name).grad
            if name == HEAD or gradient is None:
                continue
            grid, gradient = self.grids[name], gradient.view_as(self.grids[name])
            gradient.add_(grid, alpha=self.terms.l2)
            if self.terms.pull:
                gradient.add_((grid - self.earlier[name]) * self.held[name], alpha=self.terms.pull)
        self.alive = {stream: norms > 0 for stream, norms in self._norms_of_new().items()}

    def after(self, rate: float) -> None:
        """Shrink what was trained, and put back what is frozen."""
        scale = rate / OFFICIAL_RATE
        for name in self.trained:
            self.grids[name].copy_(softshrink(self.grids[name], self.terms.l1 * scale))
        if self.terms.new:
            self._shrink_new(self.terms.group_lasso * scale)
        for name in self.held if self.terms.frozen else ():
            self.grids[name].copy_(torch.where(self.held[name], self.earlier[name], self.grids[name]))
        for parameter, earlier in self.vectors.items():
            parameter[: len(earlier)] = earlier

    def _shrink_new(self, threshold: float) -> None:
        """Shorten the incoming tensor of each new unit by the threshold; at zero nothing reads it."""
        factors = {
            stream: torch.where((norms > threshold) & self.alive[stream], 1 - threshold / norms, 0.0)
            for stream, norms in self._norms_of_new().items()
        }
        for layer in (*self.architecture.layers, self.architecture.head):
            grid, first = self.grids[layer.name], self.terms.new
            if layer.target in factors:
                grid[first[layer.target] :] *= factors[layer.target].view(-1, 1, 1)
            if layer.source in factors:
                grid[:, first[layer.source] :] *= (factors[layer.source] > 0).view(1, -1, 1)


def optimizer_of(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The benchmark's optimizer over what is trained, without weight decay: l2 is one of DEN's terms."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch_optimizer([], trained, settings)
