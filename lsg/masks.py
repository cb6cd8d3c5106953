"""Binary masks with straight-through gradients: kernel masks (m^s, m^a) and channel gates (m^g).

A kernel mask keeps one real logit m a kernel, as KSM (Yang et al., CVPR 2021) does:

    x = 1200 (m - 0.005),   z = (x + L) / 100,   bit = [z > 0],   d bit / d m := 12 sigma(z) sigma(-z)

with L logistic noise drawn at every step (`logit`, the default) or none (`none`, KSM's released code).
`eq5` is equation 5 of the CL-LSG paper as printed, in which class 1 has no logit of its own:
z = (log sigma(x) + L) / 100, a factor sigma(-x) in the slope, and a keep probability below 1/2.
Without noise (evaluation) a bit is [x > 0] in every mode. The slope is sigma(z) sigma(-z) and never
p (1 - p), which is exactly 0 in float32 from z = 17 on.

A gate keeps one logit s a candidate channel, as continuous sparsification does (Savarese et al. 2020;
Yuan et al. 2021): p = sigma(beta kappa s), bit ~ Bernoulli(p), drawn once an epoch; beta rises
geometrically from 1 with the epochs in which the channel was on. A channel is kept if s > 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Noise = Literal["logit", "eq5", "none"]

THRESHOLD = 0.005
INITIAL_LOGIT = 0.01
SCALE = 1200.0
TEMPERATURE = 100.0


@dataclass(frozen=True)
class Sample:
    """Bits of masks and the slope of each with respect to its logit, as used at one step."""

    bits: Tensor
    slope: Tensor


def kernel_bits(logits: Tensor, out: Tensor | None = None) -> Tensor:
    """The masks without noise: 1 where the logit is over the threshold, 0 elsewhere; into `out` if given."""
    return over(logits, THRESHOLD, out)


def over(values: Tensor, threshold: float, out: Tensor | None = None) -> Tensor:
    """1 where a value is over the threshold, 0 elsewhere, in the values' type; into `out` if given.

    Written straight into that type: a tensor of booleans and its conversion take ten times as long on a CPU.
    """
    return torch.gt(values, threshold, out=torch.empty_like(values) if out is None else out)


def sample_kernels(logits: Tensor, uniform: Tensor | None, noise: Noise, out: Sample | None = None) -> Sample:
    """Kernel masks for one step.

    Args:
        logits: m, any shape.
        uniform: draws from [0, 1) of the same shape; not used by mode `none`.
        noise: which of the three forms in the module's docstring.
        out: overwritten and returned, if given.
    """
    bits, slope = (None, None) if out is None else (out.bits, out.slope)
    z = (logits - THRESHOLD).mul_(SCALE / TEMPERATURE)
    inner = None
    if noise == "eq5":
        inner = torch.sigmoid(-TEMPERATURE * z)
        z = logsigmoid(TEMPERATURE * z).div_(TEMPERATURE)
    if noise != "none":
        assert uniform is not None, f"noise {noise!r} needs uniform draws"
        z.add_(torch.logit(uniform), alpha=1 / TEMPERATURE)
    bits, slope = over(z, 0.0, bits), torch.sigmoid(z, out=slope)
    slope.mul_(z.neg_().sigmoid_()).mul_(SCALE / TEMPERATURE)
    return Sample(bits, slope if inner is None else slope.mul_(inner))


@dataclass(frozen=True)
class GateSchedule:
    """The gate's constants: kappa (`scale`), the last beta, and over how many epochs beta gets there."""

    scale: float
    final_beta: float
    epochs: int

    def sharpness(self, on_epochs: Tensor) -> Tensor:
        """kappa * beta of channels that have been on for `on_epochs` epochs."""
        progress = (on_epochs / max(1, self.epochs - 1)).clamp(max=1.0)
        return self.scale * self.final_beta**progress


def sample_gates(logits: Tensor, uniform: Tensor, sharpness: Tensor) -> Tensor:
    """Channel gates for one epoch: Bernoulli draws, 0 or 1."""
    return (uniform < torch.sigmoid(sharpness * logits)).to(logits.dtype)


def gate_slope(logits: Tensor, sharpness: Tensor) -> Tensor:
    """d sigma(beta kappa s) / d s at the logits as they are now; they move while the gates stand."""
    z = sharpness * logits
    return sharpness * torch.sigmoid(z) * torch.sigmoid(-z)
