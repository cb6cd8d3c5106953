"""DEN's shared network: all units so far, and what each task keeps for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lsg.methods.den_units import Subnet, incoming, places
from lsg.networks.architecture import CLASSES, HEAD, IMAGE, Architecture, Grids, Widths, widened
from lsg.workspace import default_private


class SharedNetwork:
    """All units so far with their current weights, and for each task its units, head and own vectors."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.widths: dict[str, int] = dict.fromkeys(architecture.streams, 0)
        self.weights: Grids = {
            layer.name: torch.zeros(architecture.shape(layer, self.widths)) for layer in architecture.layers
        }
        self._records: dict[int, Subnet] = {}

    @property
    def tasks(self) -> list[int]:
        """Numbers of the tasks learned, in their order."""
        return list(self._records)

    def _widen(self, widths: Widths) -> None:
        for layer in self.architecture.layers:
            self.weights[layer.name] = widened(
                self.weights[layer.name], self.architecture.shape(layer, widths)
            )
        self.widths = dict(widths)

    def store(self, task: int, subnet: Subnet) -> None:
        """Take up a task: append its new units, and overwrite the kernels between units that it uses."""
        self._widen({s: max(width, int(subnet.units[s].max()) + 1) for s, width in self.widths.items()})
        for layer in self.architecture.layers:
            grid = self.weights[layer.name]
            grid[places(layer, grid, subnet.units)] = subnet.weights[layer.name]
        self._records[task] = replace(subnet, weights={HEAD: subnet.weights[HEAD]})

    def subnet(self, task: int) -> Subnet:
        """The task's network: its own units with their current weights."""
        record = self._records[task]
        shared = {}
        for layer in self.architecture.layers:
            grid = self.weights[layer.name]
            shared[layer.name] = grid[places(layer, grid, record.units)]
        return replace(record, weights=shared | record.weights)

    def start(self, weights: Grids) -> Subnet:
        """A new task's network over all the units of `weights`, which hold its new head too.

        Biases and BatchNorm start from the newest task that uses the unit.
        """
        units = {layer.target: torch.arange(len(weights[layer.name])) for layer in self.architecture.layers}
        private = {}
        for name, stream in self.architecture.private_streams().items():
            size = len(weights[HEAD]) if stream == CLASSES else len(units[stream])
            private[name] = default_private(name, size, weights[HEAD].dtype)
            for record in self._records.values() if stream != CLASSES else ():
                private[name][record.units[stream]] = record.private[name]
        copies = {name: weight.clone() for name, weight in weights.items()}
        return Subnet(self.architecture, units, copies, private)

    def shared_kernels(self, subnet: Subnet) -> dict[str, Tensor]:
        """For each layer which of the subnet's kernels `[outputs, inputs, 1]` join two shared units."""
        held = {}
        for layer in self.architecture.layers:
            rows = subnet.units[layer.target] < self.widths[layer.target]
            held[layer.name] = rows.view(-1, 1, 1).expand(-1, subnet.weights[layer.name].shape[1], 1).clone()
            if layer.source != IMAGE:
                held[layer.name] &= (subnet.units[layer.source] < self.widths[layer.source]).view(1, -1, 1)
        return held

    def earlier(self, subnet: Subnet) -> Grids:
        """The subnet's weights, those between shared units as they are here: as they were before the task."""
        earlier, shared = {HEAD: subnet.weights[HEAD]}, self.shared_kernels(subnet)
        for layer in self.architecture.layers:
            grid, held = self.weights[layer.name], shared[layer.name]
            rows, columns = places(layer, grid, subnet.units)
            there = grid[rows.clamp(max=len(grid) - 1), columns.clamp(max=grid.shape[1] - 1)]
            earlier[layer.name] = torch.where(held, there, subnet.weights[layer.name])
        return earlier

    def drift(self, subnet: Subnet) -> dict[str, Tensor]:
        """How far the incoming weights of each unit moved, between shared units: `[units]`."""
        earlier = self.earlier(subnet)
        moved = {
            layer.name: subnet.weights[layer.name] - earlier[layer.name] for layer in self.architecture.layers
        }
        return incoming(self.architecture, moved)

    def weights_used(self) -> int:
        """Shared weights that are not zero and stand between two units of one task."""
        total = 0
        for layer in self.architecture.layers:
            grid = self.weights[layer.name]
            used = torch.zeros(grid.shape[:2], dtype=torch.bool)
            for record in self._records.values():
                used[places(layer, grid, record.units)] = True
            total += int((grid[used] != 0).sum())
        return total

    def tensors(self) -> dict[str, Tensor]:
        """The whole state: shared kernels, and for each task its units, head and own vectors."""
        stored = {"tasks": torch.tensor(self.tasks)}
        stored |= {f"{name}.weight": grid for name, grid in self.weights.items()}
        for task, record in self._records.items():
            own = {f"units.{stream}": units.int() for stream, units in record.units.items()}
            own |= {f"{HEAD}.weight": record.weights[HEAD]} | record.private
            stored |= {f"task_{task:02d}.{name}": tensor for name, tensor in own.items()}
        return stored

    @classmethod
    def of(cls, architecture: Architecture, stored: Mapping[str, Tensor]) -> SharedNetwork:
        """The network whose `tensors()` these are."""
        shared = cls(architecture)
        shared.weights = {layer.name: stored[f"{layer.name}.weight"].clone() for layer in architecture.layers}
        shared.widths = {layer.target: len(shared.weights[layer.name]) for layer in architecture.layers}
        for task in stored["tasks"].tolist():
            own = f"task_{task:02d}."
            units = {stream: stored[f"{own}units.{stream}"].long() for stream in architecture.streams}
            private = {name: stored[own + name] for name in architecture.private_streams()}
            head = {HEAD: stored[f"{own}{HEAD}.weight"]}
            shared._records[task] = Subnet(architecture, units, head, private)
        return shared
