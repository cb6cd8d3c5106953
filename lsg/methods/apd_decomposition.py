"""What APD has learned: shared weights, each task's additions, and what groups of tasks have in common.

    theta_t = sigma * sigmoid(M_t) + tau_t + local of the task's group        in every layer but the head

Consolidation works on one layer at a time. Tasks are grouped by k-means over what they add to sigma. In a
group of two or more, entries whose values lie within `gap` of one another move to one tensor of the group,
as the middle between the largest and the smallest, and are zero in the members from then on; all other
entries stay with the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lsg.bank import packed, unpacked

ITERATIONS = 100
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Group:
    """Tasks that add something similar, and the tensor they share; None for a task on its own."""

    tasks: tuple[int, ...]
    local: Tensor | None


@dataclass
class Adaptation:
    """What belongs to one task: M `[outputs]` and tau by layer; biases, BatchNorm and head by name."""

    masks: Tensors
    tau: Tensors
    private: Tensors


@dataclass
class Decomposition:
    """The state of APD: `sigma` by layer, tasks in the order of learning, and groups by layer."""

    sigma: Tensors = field(default_factory=dict)
    tasks: dict[int, Adaptation] = field(default_factory=dict)
    groups: dict[str, list[Group]] = field(default_factory=dict)

    def added(self, name: str, task: int) -> Tensor:
        """What a task adds to a layer's shared weights: its tau, and its group's tensor if it has one."""
        tau = self.tasks[task].tau[name]
        for group in self.groups.get(name, ()):
            if task in group.tasks and group.local is not None:
                return tau + group.local
        return tau

    def theta(self, name: str, task: int) -> Tensor:
        """The weights with which a task computes."""
        sigma = self.sigma[name]
        return sigma * gate(self.tasks[task].masks[name], sigma.dim()) + self.added(name, task)

    def consolidate(
        self, name: str, clusters: int, gap: float, threshold: float, draws: torch.Generator
    ) -> None:
        """Group all tasks anew in one layer; earlier groups' means are the first centroids."""
        tasks = list(self.tasks)
        added = torch.stack([self.added(name, task) for task in tasks])
        before = [[tasks.index(task) for task in group.tasks] for group in self.groups.get(name, ())]
        points = added.flatten(1)
        assignment = kmeans(points, starts(points, before, clusters, draws))
        self.groups[name] = []
        for cluster in assignment.unique().tolist():
            members = (assignment == cluster).nonzero().squeeze(1).tolist()
            local: Tensor | None = None
            own = added[members]
            if len(members) > 1:
                local, own = shared(added[members], gap)
                local = pruned(local, threshold)
            group = Group(tuple(tasks[place] for place in members), local)
            self.groups[name].append(group)
            for task, tau in zip(group.tasks, own, strict=True):
                self.tasks[task].tau[name] = tau.clone()

    def nonzero(self) -> int:
        """Non-zero entries of sigma, of all tau and M, and of the groups' tensors."""
        kept = list(self.sigma.values())
        for own in self.tasks.values():
            kept += [*own.tau.values(), *own.masks.values()]
        for groups in self.groups.values():
            kept += [group.local for group in groups if group.local is not None]
        return sum(int(tensor.count_nonzero()) for tensor in kept)

    def tensors(self) -> Tensors:
        """The whole state for a file; tau and groups' tensors as bits and the values that are not zero."""
        stored = {"tasks": torch.tensor(list(self.tasks))}
        stored |= {f"sigma.{name}": sigma for name, sigma in self.sigma.items()}
        for name, groups in self.groups.items():
            for place, group in enumerate(groups):
                stored[f"groups.{name}.{place}.tasks"] = torch.tensor(group.tasks)
                if group.local is not None:
                    stored |= sparse(f"groups.{name}.{place}", group.local)
        for task, own in self.tasks.items():
            stored |= {f"{task}.private.{name}": value for name, value in own.private.items()}
            stored |= {f"{task}.mask.{name}": mask for name, mask in own.masks.items()}
            for name, tau in own.tau.items():
                stored |= sparse(f"{task}.tau.{name}", tau)
        return stored

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Decomposition:
        """The state that `tensors` stored. Raises KeyError or ValueError where something is missing."""
        state = cls(parts(tensors, "sigma."))
        for task in tensors["tasks"].tolist():
            tau = {name: dense(f"{task}.tau.{name}", tensors, w.shape) for name, w in state.sigma.items()}
            masks, private = parts(tensors, f"{task}.mask."), parts(tensors, f"{task}.private.")
            state.tasks[task] = Adaptation(masks, tau, private)
        for name, sigma in state.sigma.items():
            groups: list[Group] = []
            while (key := f"groups.{name}.{len(groups)}") + ".tasks" in tensors:
                local = dense(key, tensors, sigma.shape) if f"{key}.bits" in tensors else None
                groups.append(Group(tuple(tensors[f"{key}.tasks"].tolist()), local))
            if groups:
                state.groups[name] = groups
        return state


def gate(mask: Tensor, dimensions: int) -> Tensor:
    """sigmoid(M), to broadcast over the other dimensions of a weight."""
    return torch.sigmoid(mask).view(-1, *[1] * (dimensions - 1))


def pruned(weights: Tensor, threshold: float) -> Tensor:
    """The weights, with those whose size is at most the threshold at zero."""
    return torch.where(weights.abs() > threshold, weights, 0.0)


def kmeans(points: Tensor, centroids: Tensor) -> Tensor:
    """The index of the nearest centroid for each of `points` `[n, d]`, after Lloyd's iterations, `[n]`.

    `centroids` `[k, d]` are the start. One that no point is near stays where it is.
    """
    assignment = torch.full((len(points),), -1)
    for _ in range(ITERATIONS):
        distances = torch.stack([(points - centroid).square().sum(1) for centroid in centroids], 1)
        nearest = distances.argmin(1)
        if torch.equal(nearest, assignment):
            break
        assignment = nearest
        members = [points[assignment == place] for place in range(len(centroids))]
        centroids = torch.stack([m.mean(0) if len(m) else c for m, c in zip(members, centroids, strict=True)])
    return assignment


def starts(points: Tensor, groups: Sequence[Sequence[int]], count: int, draws: torch.Generator) -> Tensor:
    """Centroids to start from, `[count, d]`: the means of earlier groups of points, then random points."""
    means = [points[list(members)].mean(0) for members in groups]
    order = torch.randperm(len(points), generator=draws)
    return torch.stack([*means, *points[order[len(means) : count]]])


def shared(weights: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """What a group of tasks has in common `[...]`, and what stays with its members `[n, ...]`."""
    low, high = weights.amin(0), weights.amax(0)
    close = high - low <= gap
    return torch.where(close, (high + low) / 2, 0.0), torch.where(close, 0.0, weights)


def parts(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """The tensors whose names start so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def sparse(name: str, weights: Tensor) -> Tensors:
    """A tensor for a file: a bit an entry, and the values that are not zero."""
    used = weights != 0
    return {f"{name}.bits": packed(used), f"{name}.values": weights[used]}


def dense(name: str, tensors: Mapping[str, Tensor], shape: torch.Size) -> Tensor:
    """The tensor that `sparse` stored. Raises KeyError or ValueError where it does not fit the shape."""
    weights, values = torch.zeros(shape), tensors[f"{name}.values"]
    used = unpacked(tensors[f"{name}.bits"], (1, shape.numel())).view(shape)
    if len(values) != int(used.sum()):
        raise ValueError(f"{name}: {len(values)} values stored, bits name {int(used.sum())}")
    weights[used] = values
    return weights
