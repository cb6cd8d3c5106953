"""Parts of a workspace: views of one block of the kernel table, of all that a step reads and writes there.

What there is one of a weight is `[kernels, area]`, what there is one of a kernel `[kernels]`. A part stands
for as long as the same kernels move, so it also says, once, what need not be looked at in every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lsg.kernels import Block
from lsg.optimizers import Optimizer, moving_or_none, ones
from lsg.workspace import Trained, Workspace, gradient_of

LONG_ROW = 16
"""Weights of a kernel from which on a factor that all of them share, a column, costs less than one for each.
A column takes less memory, but below this many weights a loop over a kernel begins anew too often."""


@dataclass(frozen=True)
class Moving:
    """Values of a part with their optimizer's state, and which of them move.

    moving: 1 for those that move, 0 for others, or a column of these; None where all move.
    rests: none moves.
    aside: what the optimizer took out of the state of others for as long as they do not move.
    """

    value: Tensor
    state: dict[str, Tensor]
    moving: Tensor | None
    rests: bool
    aside: dict[str, Tensor]


@dataclass
class Part:
    """A block's weights and logits, and what masks them.

    parameters: of the module, with the part of each that lies in the block, in the block's order.
    decay: weight decay; one number where it is the same for the whole block.
    input_gate: of each kernel; None where all are on.
    always_on: 1 where a kernel's mask bit is always on, None where no bit is.
    masked: some kernel has a mask. Where none has, all bits are on and nothing is drawn.
    bits, slope: masks as drawn last, and the slope of each with respect to its logit; a slope of None where
        all are 1, or none is masked.
    scale: the factor mask * gate of each weight, or a column of the kernels'; None where nothing is masked
        and all gates are on.
    price: the penalty on the loss of each kernel's mask while it is on; None where there is none.

    All of them stay where they are in memory while the part stands, so that a captured step finds them.
    """

    kernels: slice
    weight: Moving
    logit: Moving
    parameters: list[tuple[nn.Parameter, slice]]
    effective: Tensor
    decay: Tensor | float | None
    input_gate: Tensor | None
    always_on: Tensor | None
    masked: bool
    bits: Tensor
    slope: Tensor | None
    scale: Tensor | None
    price: Tensor | None

    @property
    def stands(self) -> bool:
        """Nothing moves or is drawn here, so what the module holds stays right from step to step."""
        return self.weight.rests and not self.masked

    def write(self) -> None:
        """Write the masked weights into the module."""
        if self.scale is None:
            self.effective.copy_(self.weight.value)
        else:
            torch.mul(self.weight.value, self.scale, out=self.effective)

    def take(self) -> None:
        """Take up the masks that were just written into `bits`."""
        assert self.scale is not None
        if self.always_on is not None:
            torch.maximum(self.bits, self.always_on, out=self.bits)
        factor = self.bits if self.input_gate is None else self.bits * self.input_gate
        self.scale.copy_(factor.unsqueeze(1))

    def gradient(self) -> Tensor:
        """The last backward pass' gradient `[kernels, area]`: itself if of one parameter, else a copy."""
        pieces = [gradient_of(parameter)[span] for parameter, span in self.parameters]
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).view(self.effective.shape)

    def sensitivity(self, gradient: Tensor) -> Tensor:
        """The inner product of each kernel's gradient with its weights."""
        products = gradient * self.weight.value
        kernels, area = products.shape
        if area == 1:
            return products.view(kernels)
        # A matrix times ones: sums over so few columns take three times as long.
        return products.mv(ones(area, products.dtype, products.device))

    def of_logit(self, sensitivity: Tensor) -> Tensor:
        """The gradient of the logits, in place of the sensitivity."""
        if self.input_gate is not None:
            sensitivity.mul_(self.input_gate)
        if self.price is not None:
            sensitivity.add_(self.price)
        return sensitivity if self.slope is None else sensitivity.mul_(self.slope)


def parts(
    workspace: Workspace,
    moving: Tensor,
    logit_moving: Tensor,
    input_gate: Tensor,
    decay: Tensor | None,
    mask_penalty: float,
) -> list[Part]:
    """A part for each block; the vectors are those of all kernels. Every mask bit is on."""
    return [
        _part(workspace, block, moving, logit_moving, input_gate, decay, mask_penalty)
        for block in workspace.table.blocks
    ]


def _part(
    workspace: Workspace,
    block: Block,
    moving: Tensor,
    logit_moving: Tensor,
    input_gate: Tensor,
    decay: Tensor | None,
    mask_penalty: float,
) -> Part:
    kernels = block.kernels
    weights_by, logits_by = workspace.optimizers
    gates, masks = input_gate[kernels], workspace.masked[kernels]
    masked, gated = bool(masks.any()), not bool(gates.all())
    scale = _for_weights(gates, block.area)
    return Part(
        kernels,
        _moving(workspace.weight, weights_by, block.rows, _for_weights(moving[kernels], block.area)),
        _moving(workspace.logit, logits_by, lambda vector: vector[kernels], logit_moving[kernels]),
        [
            (workspace.network.get_parameter(f"{layer}.weight"), span)
            for layer, span in workspace.table.spans(block).items()
        ],
        block.rows(workspace.effective),
        None if decay is None else _number_or_column(decay[kernels]),
        gates if gated else None,
        None if bool(masks.all()) else (~masks).to(gates),
        masked,
        bits=torch.ones_like(gates) if masked else gates.new_ones(1).expand_as(gates),
        slope=torch.zeros_like(gates) if masked else None,
        scale=scale.clone() if masked else scale if gated else None,
        price=_price(workspace, block, mask_penalty),
    )


def _for_weights(per_kernel: Tensor, area: int) -> Tensor:
    """A value a kernel as a factor of its weights: `[kernels, 1]`, or one a weight where rows are short."""
    column = per_kernel.unsqueeze(1)
    return column if area >= LONG_ROW else column.expand(-1, area)


def _price(workspace: Workspace, block: Block, mask_penalty: float) -> Tensor | None:
    """The penalty times the weights of each kernel whose mask and weights both move, a mask m^a."""
    if not mask_penalty:
        return None
    attentive = workspace.trainable[block.kernels] & workspace.masked[block.kernels]
    if not bool(attentive.any()):
        return None
    return attentive.to(workspace.dtype) * (mask_penalty * block.area)


def _moving(
    trained: Trained, optimizer: Optimizer, view: Callable[[Tensor], Tensor], moving: Tensor
) -> Moving:
    rests = not bool(moving.any())
    state = {slot: view(tensor) for slot, tensor in trained.state.items()}
    factor = None if rests else moving_or_none(moving, trained.value.dtype)
    return Moving(view(trained.value), state, factor, rests, aside=optimizer.pause(state, moving))


def _number_or_column(decay: Tensor) -> Tensor | float | None:
    first = float(decay[0])
    return (first or None) if bool((decay == first).all()) else decay.unsqueeze(1)
