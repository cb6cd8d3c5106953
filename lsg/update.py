"""One training step of a masked network, outside autograd.

For kernel k = (output o, input i) of any layer, with unmasked weights w, mask bit a_k (m^s on preserved
kernels, m^a on new or released ones), gate q_i of its input channel (m^g) and G = d loss / d (w a q),
which is what backward leaves in the dense module's gradients:

    mask gradient    dL/da_k = q_i <G_k, w_k>
    gate gradient    dL/dq_i = sum over every consumer k of channel i of a_k <G_k, w_k>,  + lambda dp/ds
    weight gradient  dL/dw_k = a_k q_i G_k

then straight-through slopes, one step of each optimizer, and w a q written back into the module. This is
what autograd computes for `hard + (soft - soft.detach())`, without a mask in the graph. Where two masks
meet on a kernel, each one's gradient carries the other's bit.

Two clocks: kernel masks draw noise at every step, gates once an epoch, at its start. What is gated off is
paused for the epoch: its kernels' weights and logits, its biases and their optimizers' states stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lsg.masks import GateSchedule, Noise, gate_slope, sample_gates, sample_kernels
from lsg.networks.architecture import HEAD
from lsg.optimizers import lanes
from lsg.workspace import Workspace

Uniform = Callable[[int], Tensor]
"""Draws that many numbers from [0, 1)."""


@dataclass(frozen=True)
class Masking:
    """How masks and gates behave in a stage: noise of m^s and m^a, schedule of m^g, its penalty lambda."""

    noise: Noise
    gates: GateSchedule
    penalty: float


class Update:
    """The step above over one workspace.

    Args:
        workspace: what moves.
        masking: None for a dense network, in which nothing is masked or gated.
        weight_decay: of shared weights only; heads, biases and BatchNorm have none.
    """

    def __init__(self, workspace: Workspace, masking: Masking | None, weight_decay: float) -> None:
        self.workspace, self.masking = workspace, masking
        table = workspace.table
        decay = torch.full((table.count,), weight_decay, dtype=workspace.dtype, device=workspace.device)
        table.kernel_grid(decay, HEAD)[:] = 0.0
        self.decay = table.columns(decay) if weight_decay else [None] * len(table.blocks)
        self.bits = torch.ones(table.count, dtype=workspace.dtype, device=workspace.device)
        self.unmasked = (~workspace.masked).to(workspace.dtype)
        """1 for kernels whose bit is always on."""
        self._find_consumers()

    def _find_consumers(self) -> None:
        """The kernels that read each candidate channel, candidate after candidate, and their numbers.

        Sorting once makes the sum over a channel's consumers a segment sum: the same order on any device.
        """
        table, candidate = self.workspace.table, self.workspace.candidate
        self.candidates = candidate.nonzero().squeeze(1)
        consumers = candidate[table.input].nonzero().squeeze(1)
        self.consumers = consumers[torch.argsort(table.input[consumers], stable=True)]
        self.consumer_counts = torch.bincount(table.input[consumers], minlength=table.channels)[
            self.candidates
        ]

    def begin_epoch(self, uniform: Uniform) -> None:
        """Draw the epoch's gates, settle what is paused in it, and draw the first step's masks."""
        workspace, table = self.workspace, self.workspace.table
        gate = torch.ones(table.channels, dtype=workspace.dtype, device=workspace.device)
        if self.masking is not None and len(self.candidates):
            self.sharpness = self.masking.gates.sharpness(workspace.on_epochs)[self.candidates]
            logits = workspace.gate_logit.value[self.candidates]
            bits = sample_gates(logits, uniform(table.channels)[self.candidates], self.sharpness)
            gate[self.candidates] = bits
            workspace.on_epochs[self.candidates] += bits
        self.gate = gate
        self.input_gate = gate[table.input]
        on = (self.input_gate * gate[table.output]) > 0
        self.moving = lanes(workspace.trainable & on, workspace.dtype)
        self.logit_moving = lanes(workspace.masked & on, workspace.dtype)
        self.gate_moving = lanes(workspace.candidate, workspace.dtype)
        self.private_moving = lanes(gate[workspace.private_channel] > 0, workspace.dtype)
        self.draw(uniform)

    def draw(self, uniform: Uniform) -> None:
        """Draw the kernel masks of the next step and write the masked weights into the module."""
        workspace = self.workspace
        if self.masking is not None:
            noise = self.masking.noise
            draws = None if noise == "none" else uniform(workspace.table.count)
            sample = sample_kernels(workspace.logit.value, draws, noise)
            self.bits = torch.maximum(sample.bits, self.unmasked)
            self.slope = sample.slope
            torch.mul(self.bits, self.input_gate, out=workspace.scale)
            self._write()

    @torch.no_grad()
    def _write(self) -> None:
        workspace, table = self.workspace, self.workspace.table
        weights, scales = table.rows(workspace.weight.value), table.columns(workspace.scale)
        for effective, weight, scale in zip(table.rows(workspace.effective), weights, scales, strict=True):
            torch.mul(weight, scale, out=effective)

    @torch.no_grad()
    def step(self, rate: float, mask_rate: float, uniform: Uniform) -> None:
        """One step from the gradients of the last backward pass, which are cleared.

        Args:
            rate: learning rate of weights, biases and BatchNorm.
            mask_rate: learning rate of the masks' and gates' logits; 0 leaves them as they are.
        """
        if self.masking is not None and mask_rate:
            self._step_logits(mask_rate)
        self._step_weights(rate)
        self.draw(uniform)
        self.workspace.gradient.zero_()
        self.workspace.private_gradient.zero_()

    def _step_logits(self, rate: float) -> None:
        workspace, optimizer = self.workspace, self.workspace.optimizers[1]
        assert self.masking is not None
        sensitivity = workspace.table.dot(workspace.gradient, workspace.weight.value)
        if len(self.candidates):
            consumed = (self.bits * sensitivity)[self.consumers]
            gradient = torch.segment_reduce(consumed, "sum", lengths=self.consumer_counts)
            slope = gate_slope(workspace.gate_logit.value[self.candidates], self.sharpness)
            self._step_gates((gradient + self.masking.penalty) * slope, rate)
        mask_gradient = sensitivity * self.input_gate * self.slope
        logit = workspace.logit
        optimizer.step(logit.value, mask_gradient, logit.state, self.logit_moving, rate, None)

    def _step_gates(self, gradient: Tensor, rate: float) -> None:
        workspace = self.workspace
        trained = workspace.gate_logit
        spread = torch.zeros_like(trained.value)
        spread[self.candidates] = gradient
        workspace.optimizers[1].step(trained.value, spread, trained.state, self.gate_moving, rate, None)

    def _step_weights(self, rate: float) -> None:
        workspace, table, optimizer = self.workspace, self.workspace.table, self.workspace.optimizers[0]
        state = {slot: table.rows(tensor) for slot, tensor in workspace.weight.state.items()}
        moving = [None] * len(table.blocks) if self.moving is None else table.columns(self.moving)
        values, gradients = table.rows(workspace.weight.value), table.rows(workspace.gradient)
        scales = table.columns(workspace.scale)
        for block, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
            if self.masking is not None:
                gradient.mul_(scales[block])
            own = {slot: rows[block] for slot, rows in state.items()}
            optimizer.step(value, gradient, own, moving[block], rate, self.decay[block])
        private = workspace.private
        gradient = workspace.private_gradient
        optimizer.step(private.value, gradient, private.state, self.private_moving, rate, None)
