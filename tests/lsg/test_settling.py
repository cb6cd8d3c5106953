"""The kernels that a new task starts from, by hand; `lsg.settling.settled` is tested with growth."""

from __future__ import annotations

import torch

from lsg.bank import Bank, Solution
from lsg.networks.architecture import HEAD
from lsg.settling import divided, reused_weights, without_idle
from tests.lsg.tiny import tiny_architecture


def test_released_kernels_start_at_0_but_those_of_a_wholly_free_filter_at_their_fresh_draw() -> None:
    architecture, widths = tiny_architecture(), {"outer": 2, "inner": 3, "hidden": 1}
    layers = (*architecture.layers, architecture.head)
    shapes = {layer.name: architecture.shape(layer, widths, 2) for layer in layers}
    learned = {name: torch.full(shape, 5.0) for name, shape in shapes.items()}
    fresh = {name: torch.full(shape, 7.0) for name, shape in shapes.items()}
    used = {layer.name: torch.ones(shapes[layer.name][:2], dtype=torch.bool) for layer in architecture.layers}
    used["conv1"] = torch.tensor([[True, True], [True, False], [False, False]])
    bank = Bank(architecture)
    bank.add(1, Solution(widths, 2, learned, used, {}))
    reused = reused_weights(bank, fresh)
    conv1 = torch.tensor([[5.0, 5.0], [5.0, 0.0], [7.0, 7.0]]).unsqueeze(2).expand(3, 2, 9)
    expected = learned | {"conv1": conv1, HEAD: fresh[HEAD]}
    assert reused.keys() == expected.keys()
    for name, grid in expected.items():
        assert torch.equal(reused[name], grid), name


def test_a_kernel_at_weight_0_is_not_used_and_the_network_stays_as_it_is() -> None:
    architecture, widths = tiny_architecture(), {"outer": 2, "inner": 3, "hidden": 1}
    layers = (*architecture.layers, architecture.head)
    shapes = {layer.name: architecture.shape(layer, widths, 2) for layer in layers}
    weights = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    weights["conv1"][1, 0] = 0.0
    weights["conv1"][0, 1, 1:] = 0.0
    used = {layer.name: torch.ones(shapes[layer.name][:2], dtype=torch.bool) for layer in architecture.layers}
    used["conv1"][2, 1] = False
    solution = Solution(widths, 2, weights, used, {})
    less = without_idle(solution)
    assert less.used["conv1"].tolist() == [[True, True], [False, True], [True, False]]
    assert all(less.used[name].all() for name in used if name != "conv1")
    assert used["conv1"][1, 0], "the solution it was made from is left alone"
    before, after = (each.network(architecture).state_dict() for each in (solution, less))
    assert all(torch.equal(before[f"{name}.weight"], after[f"{name}.weight"]) for name in weights)


def test_a_network_divided_into_single_weights_computes_the_same() -> None:
    architecture, widths = tiny_architecture(), {"outer": 2, "inner": 3, "hidden": 1}
    layers = (*architecture.layers, architecture.head)
    shapes = {layer.name: architecture.shape(layer, widths, 2) for layer in layers}
    draws = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}
    used = {layer.name: torch.ones(shapes[layer.name][:2], dtype=torch.bool) for layer in architecture.layers}
    used["conv1"] = torch.tensor([[True, False], [False, True], [True, True]])
    whole, elementwise = Solution(widths, 2, weights, used, {}), architecture.elementwise()
    single = divided(whole, elementwise)
    assert single.used["conv1"].tolist() == [[on] * 9 + [off] * 9 for on, off in used["conv1"].tolist()]
    assert single.weights["conv1"].shape == (3, 18, 1)
    before, after = whole.network(architecture).state_dict(), single.network(elementwise).state_dict()
    assert all(torch.equal(before[f"{name}.weight"], after[f"{name}.weight"]) for name in weights)
    same = divided(whole, architecture)
    assert all(torch.equal(same.used[name], used[name]) for name in used)
    assert all(torch.equal(same.weights[name], weights[name]) for name in weights)
