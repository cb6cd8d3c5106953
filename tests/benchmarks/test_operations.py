"""What a step costs, counted: these gates do not depend on the machine."""

import pytest
import torch

from benchmarks.operations import Counter, counted
from benchmarks.step import ARCHITECTURES, MASK_RATE, RATE, MaskedStep, batch, operations
from lsg import kernels
from lsg.initial import initial_weights
from lsg.masked import MaskedTraining
from lsg.masks import GateSchedule
from lsg.methods.elementwise import PiggyUpdate
from lsg.networks.architecture import HEAD, Architecture
from lsg.optimizers import SGD, Adam
from lsg.update import Masking, Update
from lsg.widths import widths_at
from lsg.workspace import Workspace


def test_views_and_allocations_do_not_count_and_operations_do() -> None:
    numbers = torch.ones(4, 2)
    assert counted(lambda: numbers.view(8)[2:].unsqueeze(0).t()) == 0
    assert counted(lambda: numbers.mul(2).add_(numbers.sum(1, keepdim=True))) == 3
    assert counted(lambda: torch.empty_like(numbers).zero_()) == 1


def test_a_step_of_vgg_is_few_operations_and_its_update_does_not_grow_with_the_layers() -> None:
    """Masks, gates, both optimizers and the noise of all 13 layers and the head."""
    whole, update = operations("vgg16-bn-linear")
    assert whole <= 183
    assert update <= 73


def test_masks_draw_random_numbers_once_a_step() -> None:
    architecture = ARCHITECTURES["lenet"]
    step = MaskedStep(architecture, widths_at(architecture, 0.125))
    images, labels = batch(architecture)
    step.backward(images, labels)
    calls: list[int] = []

    def uniform(count: int) -> torch.Tensor:
        calls.append(count)
        return torch.rand(count)

    step.update.step(RATE, MASK_RATE, uniform)
    assert calls == [step.workspace.table.count]


@pytest.mark.parametrize("dense", [False, True])
def test_an_update_is_made_block_by_block_without_looking_at_all_kernels_for_each(
    dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = ARCHITECTURES["lenet"]

    def written(most_kernels: int) -> int:
        monkeypatch.setattr(kernels, "MOST_KERNELS", most_kernels)
        weights = initial_weights(architecture, architecture.streams, 10, 1, 1)
        optimizers = (SGD(), Adam())
        workspace = Workspace(architecture, architecture.streams, 10, optimizers, weights, {}, dense=dense)
        masking = None if dense else Masking("logit", GateSchedule(100.0, 20.0, 20), 1e-4, mask_penalty=1e-7)
        counter = Counter()
        with counter:
            Update(workspace, masking, 4e-5)
        return counter.elements

    assert written(2**12) < 1.01 * written(2**16)


def test_a_dense_workspace_keeps_a_weight_and_its_velocity_and_nothing_for_masks() -> None:
    architecture = ARCHITECTURES["lenet"]
    weights = initial_weights(architecture, architecture.streams, 10, 1, 1)
    workspace = Workspace(architecture, architecture.streams, 10, (SGD(), SGD()), weights, {}, dense=True)
    table = workspace.table
    private = sum(len(vector) for vector in workspace.private_vectors().values())
    saved = MaskedTraining(workspace, None, 4e-5).tensors()
    floats = sum(tensor.numel() for tensor in saved.values() if tensor.is_floating_point())
    assert floats == 2 * (table.weights + private) + 3 * table.channels
    assert sum(tensor.numel() for tensor in saved.values()) - floats == table.count + table.channels


def test_a_step_without_masks_is_that_of_what_moves() -> None:
    """Frozen kernels beside a head that is trained: SGD of head and private values, the head written."""
    architecture = ARCHITECTURES["vgg16-bn-linear"]
    workspace = MaskedStep(architecture, widths_at(architecture, 0.125)).workspace
    for mark in (workspace.masked, workspace.candidate, workspace.trainable):
        mark[:] = False
    workspace.table.kernel_grid(workspace.trainable, HEAD)[:] = True
    update = Update(workspace, Masking("logit", GateSchedule(100.0, 20.0, 20), 1e-4), 4e-5)
    assert counted_step(update, architecture) <= 10


def test_a_step_of_single_weight_masks_multiplies_by_no_gate_and_no_slope() -> None:
    """Adam of Piggyback's masks, SGD of the other weights, the masked weights written."""
    architecture = ARCHITECTURES["lenet"].elementwise()
    workspace = MaskedStep(architecture, widths_at(architecture, 0.125)).workspace
    workspace.candidate[:] = False
    torch.logical_not(workspace.trainable, out=workspace.masked)
    assert len(workspace.table.blocks) == 1
    update = PiggyUpdate(workspace, Masking("none", GateSchedule(1.0, 1.0, 1), 0.0), 4e-5)
    assert counted_step(update, architecture) <= 32


def counted_step(update: Update, architecture: Architecture) -> int:
    """Operations of the update's step."""
    update.begin_epoch(torch.rand)
    network, (images, labels) = update.workspace.network, batch(architecture)
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    gradients = [parameter.grad for parameter in network.parameters()]

    def step() -> None:
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        update.step(RATE, MASK_RATE, torch.rand)

    return counted(step)


def test_masks_leave_no_node_in_the_graph() -> None:
    """Forward and backward of a masked network are those of the dense one, operation for operation."""
    architecture = ARCHITECTURES["lenet"]
    widths = widths_at(architecture, 0.125)
    images, labels = batch(architecture)
    masked = MaskedStep(architecture, widths).workspace.network
    dense = architecture.make(widths, 10)

    def both_ways(network: torch.nn.Module) -> int:
        return counted(lambda: torch.nn.functional.cross_entropy(network(images), labels).backward())

    assert both_ways(masked) == both_ways(dense)
