"""Growth: candidates in chunks (CL-LSG, sections 3.1 and A.4).

Only preserved channels and candidates exist in a network in training. Candidates come a chunk a stream;
where over 80 % of a stream's last chunk are on after an epoch, the next one comes, as far as there is room.
Which of them stay is decided at the end (`lsg.settling`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from lsg.initial import initial_weights
from lsg.networks.architecture import Architecture, Grids, Widths
from lsg.widths import widths_at
from lsg.workspace import Workspace

FULL_CHUNK = 0.8
PARTS = 16
"""Where chunks are too large for the room that is left, the largest number of their sixteenths comes."""


@dataclass(frozen=True)
class Room:
    """How far a network may grow: most channels of each stream, most weights of all layers together."""

    architecture: Architecture
    widths: Widths
    weights: float

    def opened(self, widths: Widths, streams: Collection[str], chunk: float) -> dict[str, int]:
        """These widths and a chunk, a share of the 1x channels, in each of the streams, as far as it fits.

        All get the same sixteenths of their chunks. Then each in turn, in the network's order, takes what of
        its chunk still fits: one that is expensive does not keep the others from growing.
        """
        chunks = widths_at(self.architecture, chunk)
        asked = [stream for stream in self.architecture.streams if stream in streams]
        wider = self._taken(widths, dict(widths), chunks, asked)
        for stream in asked:
            wider = self._taken(widths, wider, chunks, [stream])
        return wider

    def _taken(
        self, widths: Widths, wider: dict[str, int], chunks: Widths, streams: list[str]
    ) -> dict[str, int]:
        """`wider` with the most sixteenths of the streams' chunks, counted from `widths` on, that fit."""
        for part in range(PARTS, 0, -1):
            asked = {
                stream: widths[stream] + math.floor(chunks[stream] * part / PARTS + 0.5) for stream in streams
            }
            taken = wider | {s: max(wider[s], min(count, self.widths[s])) for s, count in asked.items()}
            if self.architecture.weights(taken) <= self.weights:
                return taken
        return wider


@dataclass
class Growth:
    """The candidates of one stage.

    Args:
        seed, task: name the initial weights.
        chunk: candidates a chunk, as a fraction of each stream's 1x channels.
        room: how far the network may grow, candidates included.
        gate_init: s of a new candidate.
        last_epoch: the last one before which a chunk opens; a later one could not be judged any more.
        masked: layers in which its kernels have masks (m^a).
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
