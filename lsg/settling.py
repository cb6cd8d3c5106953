"""Between training and the bank: the kernels that a task starts from, and the network that it leaves.

At the end of a stage a candidate with s > 0 is kept and the others are dropped; kernels whose mask is off are
released (CL-LSG, sections 3.1 and 3.2).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from lsg.bank import FREE, Bank, Solution
from lsg.masks import kernel_bits
from lsg.networks.architecture import HEAD, Architecture, Grids
from lsg.workspace import Workspace


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


def without_idle(solution: Solution) -> Solution:
    """The same network without the kernels at weight 0, which stay free for later tasks.

    A released kernel starts at 0. Where no gradient reaches it, it ends there with its mask on.
    """
    used = {name: bits & (solution.weights[name] != 0).any(2) for name, bits in solution.used.items()}
    return replace(solution, used=used)


def divided(solution: Solution, architecture: Architecture) -> Solution:
    """The same network with kernels as `architecture` has them: whole, or each weight one of its own."""
    weights, used = dict(solution.weights), {}
    for layer in architecture.layers:
        outputs, inputs, area = architecture.shape(layer, solution.widths)
        bits = solution.used[layer.name]
        used[layer.name] = bits.repeat_interleave(inputs // bits.shape[1], dim=1)
        weights[layer.name] = weights[layer.name].reshape(outputs, inputs, area)
    return replace(solution, weights=weights, used=used)
