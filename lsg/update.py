"""One training step of a masked network, outside autograd.

For kernel k = (output o, input i) of any layer, with unmasked weights w, mask bit a_k (m^s on preserved
kernels, m^a on new or released ones), gate q_i of its input channel (m^g) and G = d loss / d (w a q),
which is what backward leaves in the dense module's gradients:

    mask gradient    dL/da_k = q_i <G_k, w_k>,  + mu * weights of k, if its weights move too (m^a)
    gate gradient    dL/dq_i = sum over every consumer k of channel i of a_k <G_k, w_k>,  + lambda dp/ds
    weight gradient  dL/dw_k = a_k q_i G_k

then straight-through slopes, one step of each optimizer, and w a q written back into the module. This is
what autograd computes for `hard + (soft - soft.detach())`, without a mask in the graph. Where two masks
meet on a kernel, each one's gradient carries the other's bit.

Two clocks: kernel masks draw noise at every step, gates once an epoch, at its start. What is gated off is
paused for the epoch: its kernels' weights and logits, its biases and the optimizers' state of them stay.
BatchNorm's statistics of its channel go on, but nothing reads them while it is off.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lsg.masks import GateSchedule, Noise, Sample, gate_slope, sample_gates, sample_kernels
from lsg.networks.architecture import HEAD
from lsg.optimizers import give_back, moving_or_none
from lsg.parts import Part, parts
from lsg.seeds import Uniform
from lsg.workspace import Workspace


@dataclass(frozen=True)
class Masking:
    """How masks and gates behave in a stage.

    noise: of m^s and m^a. gates: schedule of m^g. penalty: lambda, on the sum of gates' probabilities.
    mask_penalty: mu, on the number of weights that masks m^a let through.
    """

    noise: Noise
    gates: GateSchedule
    penalty: float
    mask_penalty: float = 0.0


class Update:
    """The step above over one workspace.

    It goes through the blocks of the kernel table one after the other and does all that a step does to one
    before the next, so that on a CPU each weight comes from memory once a step and not once an operation.

    Args:
        workspace: what moves.
        masking: None for a dense network, in which nothing is masked or gated.
        weight_decay: of shared weights only; heads, biases and BatchNorm have none.
    """

    def __init__(self, workspace: Workspace, masking: Masking | None, weight_decay: float) -> None:
        self.workspace, self.masking = workspace, masking
        table = workspace.table
        self.decay: Tensor | None = None
        if weight_decay:
            self.decay = self._full(weight_decay)
            table.kernel_grid(self.decay, HEAD)[:] = 0.0
        self.parts: list[Part] = []
        self.private_aside: dict[str, Tensor] = {}
        self._find_consumers()
        self.consumed = self._full(0.0) if len(self.consumers) else None
        """What each kernel adds to the gradient of its input gate, where there are any."""
        self._set_gates(torch.ones(table.channels, dtype=workspace.dtype, device=workspace.device))

    def _full(self, value: float) -> Tensor:
        workspace = self.workspace
        return torch.full((workspace.table.count,), value, dtype=workspace.dtype, device=workspace.device)

    def _find_consumers(self) -> None:
        """The kernels that read candidate channels, channel after channel, and how many read each.

        Sorting once makes the sum over a channel's consumers a segment sum: the same order on any device.
        """
        table = self.workspace.table
        consumers = self.workspace.candidate[table.input].nonzero().squeeze(1)
        self.consumers = consumers[torch.argsort(table.input[consumers], stable=True)]
        self.consumer_counts = torch.bincount(table.input[consumers], minlength=table.channels)

    def begin_epoch(self, uniform: Uniform) -> None:
        """Draw the epoch's gates, settle what is paused in it, and draw the first step's masks.

        Without candidates no gate is ever off: the parts stand from the first epoch to the last.
        """
        if self.masking is not None and self.consumed is not None:
            self._set_gates(self._drawn_gates(self.masking, uniform))
        self.draw(uniform)

    def _drawn_gates(self, masking: Masking, uniform: Uniform) -> Tensor:
        """Candidates' gates as they are drawn; all other channels are on."""
        workspace = self.workspace
        self.sharpness = masking.gates.sharpness(workspace.on_epochs)
        bits = sample_gates(workspace.gate_logit.value, uniform(workspace.table.channels), self.sharpness)
        workspace.on_epochs += bits * workspace.candidate
        return torch.where(workspace.candidate, bits, 1.0)

    def end_epoch(self) -> None:
        """Give back the momentum of what was paused; the workspace then holds all that goes on.

        Without candidates nothing is ever paused, and what no longer moves has no momentum to come.
        """
        if self.consumed is None:
            return
        for part in self.parts:
            for moving in (part.weight, part.logit):
                give_back(moving.state, moving.aside)
        give_back(self.workspace.private.state, self.private_aside)

    def _set_gates(self, gate: Tensor) -> None:
        workspace, table = self.workspace, self.workspace.table
        self.gate, self.input_gate = gate, gate[table.input]
        self.on = (self.input_gate * gate[table.output]) > 0
        self.gate_moving = moving_or_none(workspace.candidate, workspace.dtype)
        private_on = gate[workspace.private_channel] > 0
        self.private_moving = moving_or_none(private_on, workspace.dtype)
        self.private_aside = workspace.optimizers[0].pause(workspace.private.state, private_on)
        self.divide()

    def divide(self) -> None:
        """Make the parts anew: which kernels move stands in them."""
        workspace = self.workspace
        moving, logit_moving = workspace.trainable & self.on, workspace.masked & self.on
        mask_penalty = self.masking.mask_penalty if self.masking is not None else 0.0
        self.parts = parts(workspace, moving, logit_moving, self.input_gate, self.decay, mask_penalty)

    @torch.no_grad()
    def step(self, rate: float, mask_rate: float, uniform: Uniform) -> None:
        """One step from the gradients of the last backward pass, which are dropped.

        Args:
            rate: learning rate of weights, biases and BatchNorm.
            mask_rate: learning rate of the masks' and gates' logits; 0 leaves them as they are.
        """
        masks_move = self.masking is not None and mask_rate > 0
        gates_move = masks_move and self.consumed is not None
        draws = self._draws(uniform)
        for part in self.parts:
            if part.stands and not gates_move:
                continue
            gradient = part.gradient()
            if masks_move:
                self._step_logits(part, gradient, mask_rate)
            if not part.stands:
                self._step_weights(part, gradient, rate)
                self._draw(part, draws)
        if gates_move:
            self._step_gates(mask_rate)
        self._step_private(rate)
        self.workspace.network.zero_grad()

    def _step_logits(self, part: Part, gradient: Tensor, rate: float) -> None:
        """Masks, and each kernel's term of its input gate's gradient, where there are any."""
        logit = part.logit
        if logit.rests and self.consumed is None:
            return
        sensitivity = part.sensitivity(gradient)
        if self.consumed is not None:
            torch.mul(part.bits, sensitivity, out=self.consumed[part.kernels])
        if not logit.rests:
            of_logit = part.of_logit(sensitivity)
            self.workspace.optimizers[1].step(logit.value, of_logit, logit.state, logit.moving, rate, None)

    def _step_weights(self, part: Part, gradient: Tensor, rate: float) -> None:
        weight = part.weight
        if weight.rests:
            return
        if part.scale is not None:
            gradient.mul_(part.scale)
        optimizer = self.workspace.optimizers[0]
        optimizer.step(weight.value, gradient, weight.state, weight.moving, rate, part.decay)

    def draw(self, uniform: Uniform) -> None:
        """Draw masks for all kernels and write the masked weights into the module."""
        draws = self._draws(uniform)
        for part in self.parts:
            self._draw(part, draws)

    def _draws(self, uniform: Uniform) -> Tensor | None:
        """Random numbers for the masks of all kernels, where there are masks and they have noise.

        Whatever else is drawn in an epoch, its gates, is drawn before.
        """
        if self.masking is None or self.masking.noise == "none":
            return None
        if not any(part.masked for part in self.parts):
            return None
        return uniform(self.workspace.table.count)

    @torch.no_grad()
    def _draw(self, part: Part, draws: Tensor | None) -> None:
        if self.masking is None:
            return
        if part.masked:
            assert part.slope is not None
            own = None if draws is None else draws[part.kernels]
            sample_kernels(part.logit.value, own, self.masking.noise, out=Sample(part.bits, part.slope))
            part.take()
        part.write()

    def _step_gates(self, rate: float) -> None:
        assert self.masking is not None
        assert self.consumed is not None
        trained = self.workspace.gate_logit
        # `unsafe` leaves out a check of the lengths, which are right, that would wait for a GPU.
        gradient = torch.segment_reduce(
            self.consumed[self.consumers], "sum", lengths=self.consumer_counts, unsafe=True
        )
        gradient.add_(self.masking.penalty).mul_(gate_slope(trained.value, self.sharpness))
        optimizer = self.workspace.optimizers[1]
        optimizer.step(trained.value, gradient, trained.state, self.gate_moving, rate, None)

    def _step_private(self, rate: float) -> None:
        private, gradient = self.workspace.private, self.workspace.private_gradient()
        optimizer = self.workspace.optimizers[0]
        optimizer.step(private.value, gradient, private.state, self.private_moving, rate, None)
