"""A task's network in DEN: which shared units it uses, and how they are selected, added and split.

A unit is a channel of a stream. Its incoming tensor is everything that is written into it: one filter, or
in a residual stream the filters of all layers that add into the channel. A task's network is compact: its
channels are units of the shared network (`den_shared`), named by their index in its stream. Units are
only ever appended there, so the indices are a timestamp: no task can name a unit that came after it. To
split a unit is to give the task's copy a new index; the shared network then keeps the old copy for the
earlier tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lsg.bank import Solution
from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Grids, Layer, Widths
from lsg.workspace import default_private

Units = dict[str, Tensor]
"""For each stream the indices (int64) of units in the shared network, in the order of a compact network."""


@dataclass(frozen=True)
class Subnet:
    """A task's network over shared units.

    `weights` are kernels by layer `[outputs, inputs, area]`, the head included; `private` the task's own
    vectors by module name.
    """

    architecture: Architecture
    units: Units
    weights: Grids
    private: dict[str, Tensor]

    @property
    def widths(self) -> dict[str, int]:
        return {stream: len(units) for stream, units in self.units.items()}

    @property
    def classes(self) -> int:
        return len(self.weights[HEAD])

    def network(self) -> nn.Module:
        """The plain module that computes this network, in evaluation mode."""
        return Solution(self.widths, self.classes, self.weights, {}, self.private).network(self.architecture)

    def trained(self, network: nn.Module) -> Subnet:
        """The same units with the state of a module that began as `network()`."""
        state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
        weights = {
            name: state[f"{name}.weight"].reshape(grid.shape).clone() for name, grid in self.weights.items()
        }
        return replace(self, weights=weights, private={name: state[name].clone() for name in self.private})

    def selected(self) -> dict[str, Tensor]:
        """For each stream which units `[units]` have a path of non-zero weights to the head.

        The walk goes down from the head's non-zero columns until nothing is added, so a unit of a residual
        stream counts if a kept unit reads it anywhere along the stream. A module needs a unit a stream:
        where none has a path, the first stays.
        """
        paths = {name: (grid != 0).any(2) for name, grid in self.weights.items()}
        kept = {stream: torch.zeros(len(units), dtype=torch.bool) for stream, units in self.units.items()}
        kept[self.architecture.head.source] |= paths[HEAD].any(0)
        count = -1
        while count != (count := sum(int(units.sum()) for units in kept.values())):
            for layer in reversed(self.architecture.layers):
                if layer.source != IMAGE:
                    kept[layer.source] |= paths[layer.name][kept[layer.target]].any(0)
        for units in kept.values():
            units[0] |= ~units.any()
        return kept

    def only(self, kept: Mapping[str, Tensor]) -> Subnet:
        """The network without the units that are not `kept` (for each stream `[units]` booleans)."""
        weights = {}
        for layer in (*self.architecture.layers, self.architecture.head):
            grid = self.weights[layer.name]
            grid = grid if layer.target == CLASSES else grid[kept[layer.target]]
            weights[layer.name] = grid if layer.source == IMAGE else grid[:, kept[layer.source]]
        streams = self.architecture.private_streams()
        private = {
            name: vector[kept[streams[name]]] if streams[name] in kept else vector
            for name, vector in self.private.items()
        }
        return replace(
            self,
            units={s: units[kept[s]] for s, units in self.units.items()},
            weights=weights,
            private=private,
        )

    def expanded(self, widths: Widths, added: Mapping[str, int], fresh: Grids) -> Subnet:
        """The network with `added` further units a stream, which come behind the `widths` shared ones.

        `fresh` are initial kernels of the shared network widened by `added`, and of the task's head: they
        give what the new units read and what reads them.
        """
        units = {
            stream: torch.cat([old, torch.arange(widths[stream], widths[stream] + added[stream])])
            for stream, old in self.units.items()
        }
        weights = {}
        for layer in (*self.architecture.layers, self.architecture.head):
            weights[layer.name] = fresh[layer.name][places(layer, fresh[layer.name], units)]
            outputs, inputs, _ = self.weights[layer.name].shape
            weights[layer.name][:outputs, :inputs] = self.weights[layer.name]
        streams, private = self.architecture.private_streams(), {}
        for name, vector in self.private.items():
            tail = default_private(name, added.get(streams[name], 0), vector.dtype)
            private[name] = torch.cat([vector, tail])
        return replace(self, units=units, weights=weights, private=private)

    def without_zero_units(self, widths: Widths) -> Subnet:
        """The network without those new units (behind the `widths` shared ones) that read nothing."""
        norms = incoming(self.architecture, self.weights)
        kept = {
            stream: (units < widths[stream]) | (norms[stream] > 0) for stream, units in self.units.items()
        }
        compact = self.only(kept)
        renumbered = {}
        for stream, units in compact.units.items():
            new = units >= widths[stream]
            renumbered[stream] = units.masked_scatter(new, torch.arange(int(new.sum())) + widths[stream])
        return replace(compact, units=renumbered)

    def split(self, widths: Widths, drifted: Mapping[str, Tensor]) -> Subnet:
        """The network with copies of its own of the `drifted` units (for each stream their places).

        The copies get the indices behind the `widths` shared units and behind the network's new ones.
        """
        units = {stream: old.clone() for stream, old in self.units.items()}
        for stream, chosen in drifted.items():
            first = widths[stream] + int((units[stream] >= widths[stream]).sum())
            units[stream][chosen] = torch.arange(first, first + len(chosen))
        return replace(self, units=units)


def places(layer: Layer, grid: Tensor, units: Units) -> tuple[Tensor, Tensor]:
    """Index of a shared grid `[outputs, inputs, area]` that gives the kernels between these units."""
    rows = units[layer.target] if layer.target in units else torch.arange(grid.shape[0])
    columns = units[layer.source] if layer.source in units else torch.arange(grid.shape[1])
    return rows.unsqueeze(1), columns.unsqueeze(0)


def incoming(architecture: Architecture, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """L2 norm of each unit's incoming tensor `[units]`, over all layers that write its stream."""
    squares: dict[str, Tensor] = {}
    for layer in architecture.layers:
        square = grids[layer.name].square().sum((1, 2))
        squares[layer.target] = squares.get(layer.target, torch.zeros_like(square)) + square
    return {stream: square.sqrt() for stream, square in squares.items()}
