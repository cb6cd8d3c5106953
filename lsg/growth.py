"""Growth: seed, candidates in chunks, keep or drop, release (CL-LSG, sections 3.1 and A.4).

Only preserved channels and candidates exist in a network in training. Candidates come a chunk a stream;
where over 80 % of a stream's last chunk are on after an epoch, the next one comes, as far as there is room.
At the end a candidate with s > 0 is kept and the others are dropped; kernels whose mask is off are released.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import torch

from lsg import initial
from lsg.bank import FREE, Bank, Solution
from lsg.masks import kernel_bits
from lsg.networks.architecture import HEAD, Architecture, Widths
from lsg.workspace import Grids, Workspace

FULL_CHUNK = 0.8
PARTS = 16
"""Where a chunk is too large for the room that is left, the largest number of its sixteenths comes."""


def seed_widths(architecture: Architecture, fraction: float) -> dict[str, int]:
    """Channels of the seed network: a fraction of each stream, rounded half up, at least 1."""
    return {
        stream: max(1, math.floor(width * fraction + 0.5)) for stream, width in architecture.streams.items()
    }


def cap_widths(architecture: Architecture, cap: float) -> dict[str, int]:
    """Most channels of each stream for `cap` times the 1x network's weights (widths scale by its root)."""
    return {stream: int(width * math.sqrt(cap)) for stream, width in architecture.streams.items()}


def initial_weights(
    architecture: Architecture,
    widths: Widths,
    classes: int,
    seed: int,
    task: int,
    dtype: torch.dtype = torch.float32,
) -> Grids:
    """Freshly drawn kernels of every layer, the head included, at these widths."""
    grids = {}
    for layer in (*architecture.layers, architecture.head):
        outputs, inputs, _ = architecture.shape(layer, widths, classes)
        grids[layer.name] = initial.draw(
            architecture, layer, range(outputs), range(inputs), seed, task, dtype
        )
    return grids


def reused_weights(bank: Bank, fresh: Grids) -> Grids:
    """The bank's kernels as a new task finds them.

    Owned kernels as they are. Released ones start at 0 (as CPG's) if their filter has an owned kernel;
    else at their fresh draw: BatchNorm amplifies the gradient of an all-zero filter without bound.
    """
    grids = dict(fresh)
    for layer in bank.architecture.layers:
        free = bank.owners[layer.name] == FREE
        alive = ~free.all(dim=1, keepdim=True)
        kept = torch.where(free.unsqueeze(2), 0.0, bank.weights[layer.name])
        grids[layer.name] = torch.where(
            (free & ~alive).unsqueeze(2), fresh[layer.name], kept.to(fresh[HEAD].dtype)
        )
    return grids


@dataclass(frozen=True)
class Room:
    """How far a network may grow: most channels of each stream, most weights of all layers together."""

    architecture: Architecture
    widths: Widths
    weights: float

    def opened(self, widths: Widths, streams: Iterable[str], chunk: float) -> dict[str, int]:
        """These widths and a chunk, a share of the 1x channels, in each of the streams, as far as it fits."""
        sizes = {
            stream: max(1, math.floor(self.architecture.streams[stream] * chunk + 0.5)) for stream in streams
        }
        for part in range(PARTS, 0, -1):
            wider = dict(widths)
            for stream, size in sizes.items():
                wanted = widths[stream] + math.floor(size * part / PARTS + 0.5)
                wider[stream] = max(widths[stream], min(wanted, self.widths[stream]))
            if self.architecture.weights(wider) <= self.weights:
                return wider
        return dict(widths)


@dataclass
class Growth:
    """The candidates of one stage.

    Args:
        seed, task: name the initial weights.
        chunk: candidates a chunk, as a fraction of each stream's 1x channels.
        room: how far the network may grow, candidates included.
        gate_init: s of a new candidate.
        masked: layers in which its kernels have masks (m^a).
        last_epoch: chunks open before this epoch only; later ones could not be judged any more.
    """

    seed: int
    task: int
    chunk: float
    room: Room
    gate_init: float
    last_epoch: int
    masked: Collection[str]
    last_chunk: dict[str, int] = field(default_factory=dict)
    """For each stream the first channel of its newest chunk."""

    def begin(self, workspace: Workspace) -> Workspace:
        """The workspace with every stream's first chunk of candidates."""
        return self._opened(workspace, list(workspace.widths))

    def before_epoch(self, workspace: Workspace, epoch: int) -> Workspace:
        """The workspace, wider where a stream has filled its newest chunk. Epochs count from 1."""
        if epoch == 1 or epoch > self.last_epoch:
            return workspace
        full = [stream for stream in workspace.widths if self._is_full(workspace, stream)]
        return self._opened(workspace, full)

    def _is_full(self, workspace: Workspace, stream: str) -> bool:
        span = workspace.table.channels_of[stream]
        newest = workspace.gate_logit.value[span][self.last_chunk.get(stream, workspace.widths[stream]) :]
        return len(newest) > 0 and float((newest > 0).double().mean()) > FULL_CHUNK

    def _opened(self, workspace: Workspace, streams: list[str]) -> Workspace:
        widths = self.room.opened(workspace.widths, streams, self.chunk)
        if widths == workspace.widths:
            return workspace
        wider = workspace.grown(widths, lambda old: self._fresh(old, widths), self.masked)
        for stream, first in workspace.widths.items():
            if widths[stream] > first:
                span = wider.table.channels_of[stream]
                wider.candidate[span][first:] = True
                wider.gate_logit.value[span][first:] = self.gate_init
                self.last_chunk[stream] = first
        return wider

    def _fresh(self, old: Workspace, widths: Widths) -> Grids:
        return initial_weights(old.architecture, widths, old.classes, self.seed, self.task, old.dtype)


def kept_channels(workspace: Workspace) -> dict[str, torch.Tensor]:
    """For each stream the channels that stay: preserved ones, and candidates with s > 0."""
    stays = ~workspace.candidate | (workspace.gate_logit.value > 0)
    return {stream: stays[span].nonzero().squeeze(1) for stream, span in workspace.table.channels_of.items()}


def settled(workspace: Workspace) -> Solution:
    """The workspace's network without noise: dropped channels gone, each mask at its threshold."""
    kept, table, architecture = kept_channels(workspace), workspace.table, workspace.architecture
    bits = torch.where(workspace.masked, kernel_bits(workspace.logit.value), 1.0) > 0
    weights, used = {}, {}
    for layer in (*architecture.layers, architecture.head):
        grid, bit = table.grid(workspace.weight.value, layer.name), table.kernel_grid(bits, layer.name)
        rows = kept.get(layer.target, torch.arange(len(grid), device=grid.device))
        columns = kept.get(layer.source, torch.arange(grid.shape[1] // layer.repeat, device=grid.device))
        columns = (columns.unsqueeze(1) * layer.repeat + torch.arange(layer.repeat).to(columns)).flatten()
        weights[layer.name] = grid[rows][:, columns].cpu()
        used[layer.name] = bit[rows][:, columns].cpu()
    used.pop(HEAD)
    streams = architecture.private_streams()
    vectors = workspace.private_vectors()
    private = {
        name: (v[kept[streams[name]]] if streams[name] in kept else v).cpu() for name, v in vectors.items()
    }
    widths = {stream: len(channels) for stream, channels in kept.items()}
    return Solution(widths, workspace.classes, weights, used, private)
