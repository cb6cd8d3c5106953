"""What a step costs, counted: these gates do not depend on the machine."""

import torch

from benchmarks.operations import counted
from benchmarks.step import ARCHITECTURES, MASK_RATE, RATE, MaskedStep, batch, operations
from lsg.widths import seed_widths


def test_views_and_allocations_do_not_count_and_operations_do() -> None:
    numbers = torch.ones(4, 2)
    assert counted(lambda: numbers.view(8)[2:].unsqueeze(0).t()) == 0
    assert counted(lambda: numbers.mul(2).add_(numbers.sum(1, keepdim=True))) == 3
    assert counted(lambda: torch.empty_like(numbers).zero_()) == 1


def test_a_step_of_vgg_is_few_operations_and_its_update_does_not_grow_with_the_layers() -> None:
    """Masks, gates, both optimizers and the noise of all 13 layers and the head."""
    whole, update = operations("vgg16-bn-linear")
    assert whole <= 195
    assert update <= 85


def test_masks_draw_random_numbers_once_a_step() -> None:
    architecture = ARCHITECTURES["lenet"]
    step = MaskedStep(architecture, seed_widths(architecture, 0.125))
    images, labels = batch(architecture)
    step.backward(images, labels)
    calls: list[int] = []

    def uniform(count: int) -> torch.Tensor:
        calls.append(count)
        return torch.rand(count)

    step.update.step(RATE, MASK_RATE, uniform)
    assert calls == [step.workspace.table.count]


def test_masks_leave_no_node_in_the_graph() -> None:
    """Forward and backward of a masked network are those of the dense one, operation for operation."""
    architecture = ARCHITECTURES["lenet"]
    widths = seed_widths(architecture, 0.125)
    images, labels = batch(architecture)
    masked = MaskedStep(architecture, widths).workspace.network
    dense = architecture.make(widths, 10)

    def both_ways(network: torch.nn.Module) -> int:
        return counted(lambda: torch.nn.functional.cross_entropy(network(images), labels).backward())

    assert both_ways(masked) == both_ways(dense)
