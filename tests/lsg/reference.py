"""The update of lsg.update as autograd computes it: straight-through masks in the graph.

Slow and plain on purpose; it shares no code with the library but the module that it runs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from lsg.seeds import Uniform
from lsg.update import Masking
from lsg.workspace import Workspace


def hard(soft: Tensor, bits: Tensor) -> Tensor:
    """`bits` forward, the slope of `soft` backward."""
    return bits + (soft - soft.detach())


def noisy_mask(logit: Tensor, uniform: Tensor | None, noise: str) -> Tensor:
    x = 1200 * (logit - 0.005)
    logistic = torch.zeros_like(logit) if uniform is None else torch.log(uniform / (1 - uniform))
    z = (torch.log(torch.sigmoid(x)) if noise == "eq5" else x) + logistic
    soft = torch.sigmoid(z / 100)
    return hard(soft, (soft > 0.5).to(logit.dtype))


class PlainAdam:
    """Adam for one tensor, each entry with a step count of its own."""

    def __init__(self, value: Tensor) -> None:
        self.mean, self.square, self.count = (torch.zeros_like(value) for _ in range(3))

    def step(self, value: Tensor, gradient: Tensor, moving: Tensor, rate: float) -> Tensor:
        count = self.count + 1
        mean = 0.9 * self.mean + 0.1 * gradient
        square = 0.999 * self.square + 0.001 * gradient**2
        new = value - rate * (mean / (1 - 0.9**count)) / ((square / (1 - 0.999**count)).sqrt() + 1e-8)
        for name, tensor in (("mean", mean), ("square", square), ("count", count)):
            setattr(self, name, torch.where(moving, tensor, getattr(self, name)))
        return torch.where(moving, new, value)


class Reference:
    """A twin of a workspace: same start, trained through autograd."""

    def __init__(self, workspace: Workspace, masking: Masking, momentum: float, decay: float) -> None:
        self.ws, self.masking, self.momentum, self.decay = workspace, masking, momentum, decay
        table = workspace.table
        names = [layer.name for layer in table.layers]
        self.layers = {layer.name: layer for layer in table.layers}
        self.network = workspace.architecture.make(workspace.widths, workspace.classes).to(workspace.dtype)
        self.network.load_state_dict(workspace.network.state_dict())
        self.weight = {name: table.grid(workspace.weight.value, name).clone() for name in names}
        self.logit = {name: table.kernel_grid(workspace.logit.value, name).clone() for name in names}
        self.masked = {name: table.kernel_grid(workspace.masked, name).clone() for name in names}
        self.trainable = {name: table.kernel_grid(workspace.trainable, name).clone() for name in names}
        spans = table.channels_of
        self.gate_logit = {stream: workspace.gate_logit.value[span].clone() for stream, span in spans.items()}
        self.candidate = {stream: workspace.candidate[span].clone() for stream, span in spans.items()}
        self.on_epochs = {
            stream: torch.zeros(span.stop - span.start).double() for stream, span in spans.items()
        }
        self.private = {name: value.clone() for name, value in workspace.private_vectors().items()}
        self.private = {name: value for name, value in self.private.items() if "running" not in name}
        self.velocity = {
            name: torch.zeros_like(value) for name, value in (self.weight | self.private).items()
        }
        self.adam = {name: PlainAdam(value) for name, value in (self.logit | self.gate_logit).items()}

    def begin_epoch(self, uniform: Uniform) -> None:
        draws = uniform(self.ws.table.channels)
        self.sharpness, self.gate = {}, {}
        for stream, span in self.ws.table.channels_of.items():
            epochs = self.masking.gates.epochs
            beta = self.masking.gates.final_beta ** (self.on_epochs[stream] / (epochs - 1)).clamp(max=1)
            self.sharpness[stream] = self.masking.gates.scale * beta
            probability = torch.sigmoid(self.sharpness[stream] * self.gate_logit[stream])
            on = (draws[span] < probability) | ~self.candidate[stream]
            self.gate[stream] = on.double()
            self.on_epochs[stream] += on.double() * self.candidate[stream]
        self.kernel_draws = uniform(self.ws.table.count) if self.masking.noise != "none" else None

    def gates(self, stream: str, count: int) -> Tensor:
        return self.gate.get(stream, torch.ones(count).double())

    def step(self, images: Tensor, labels: Tensor, rate: float, mask_rate: float, uniform: Uniform) -> float:
        leaves = {f"w.{k}": v.requires_grad_() for k, v in self.weight.items()}
        leaves |= {f"m.{k}": v.requires_grad_() for k, v in self.logit.items()}
        leaves |= {f"s.{k}": v.requires_grad_() for k, v in self.gate_logit.items()}
        leaves |= {f"p.{k}": v.requires_grad_() for k, v in self.private.items()}
        probability = {k: torch.sigmoid(self.sharpness[k] * v) for k, v in self.gate_logit.items()}
        gates = {
            k: torch.where(self.candidate[k], hard(p, self.gate[k]), 1.0) for k, p in probability.items()
        }
        parameters, let_through = dict(self.private), torch.zeros(()).double()
        for name, layer in self.layers.items():
            inputs = self.weight[name].shape[1]
            draws = None
            if self.kernel_draws is not None:
                draws = self.ws.table.kernel_grid(self.kernel_draws, name)
            mask = noisy_mask(self.logit[name], draws, self.masking.noise)
            mask = torch.where(self.masked[name], mask, 1.0)
            let_through += layer.area * mask[self.masked[name] & self.trainable[name]].sum()
            gate = gates.get(layer.source, torch.ones(inputs).double())
            weight = self.weight[name] * mask.unsqueeze(2) * gate.view(1, -1, 1)
            parameters[f"{name}.weight"] = weight.view(self.network.get_parameter(f"{name}.weight").shape)
        loss = cross_entropy(functional_call(self.network.train(), parameters, (images,)), labels)
        penalty = sum((p * self.candidate[k]).sum() for k, p in probability.items())
        total = loss + self.masking.penalty * penalty + self.masking.mask_penalty * let_through
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        gradients = {
            k: torch.zeros_like(v) if g is None else g
            for (k, v), g in zip(leaves.items(), found, strict=True)
        }
        with torch.no_grad():
            self._move(gradients, rate, mask_rate)
        self.kernel_draws = uniform(self.ws.table.count) if self.masking.noise != "none" else None
        return float(loss.detach())

    def _move(self, gradients: dict[str, Tensor], rate: float, mask_rate: float) -> None:
        for name, layer in self.layers.items():
            outputs, inputs, _ = self.weight[name].shape
            on_in = self.gates(layer.source, inputs) > 0
            on_out = self.gates(layer.target, outputs) > 0
            on = on_out.unsqueeze(1) & on_in.unsqueeze(0)
            decay = 0.0 if name == "head" else self.decay
            gradient = gradients[f"w.{name}"] + decay * self.weight[name].detach()
            moving = (self.trainable[name] & on).unsqueeze(2)
            self.weight[name] = self._sgd(name, self.weight[name].detach(), gradient, moving, rate)
            logit = self.logit[name].detach()
            self.logit[name] = self.adam[name].step(
                logit, gradients[f"m.{name}"], self.masked[name] & on, mask_rate
            )
        for stream, logit in self.gate_logit.items():
            moved = self.adam[stream].step(
                logit.detach(), gradients[f"s.{stream}"], self.candidate[stream], mask_rate
            )
            self.gate_logit[stream] = moved
        for name, stream in self.ws.architecture.private_streams().items():
            if name in self.private:
                moving = self.gates(stream, len(self.private[name])) > 0
                value = self.private[name].detach()
                self.private[name] = self._sgd(name, value, gradients[f"p.{name}"], moving, rate)

    def _sgd(self, name: str, value: Tensor, gradient: Tensor, moving: Tensor, rate: float) -> Tensor:
        velocity = self.momentum * self.velocity[name] + gradient
        self.velocity[name] = torch.where(moving, velocity, self.velocity[name])
        return torch.where(moving, value - rate * (gradient + self.momentum * velocity), value)
