"""The bank stores each kernel once, changes no owned one; a task's network is its record's alone."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from lsg.bank import FREE, Bank, Solution, packed, unpacked
from lsg.cost import stored_bytes
from lsg.networks.architecture import HEAD
from tests.lsg.tiny import tiny_architecture

IMAGES = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def solution(bank: Bank, grown: tuple[int, int, int], seed: int) -> Solution:
    """A random solution on top of the bank: wider by `grown`, random bits, random weights in free kernels."""
    architecture, draw = bank.architecture, torch.Generator().manual_seed(seed)
    widths = {stream: width + more for (stream, width), more in zip(bank.widths.items(), grown, strict=True)}
    weights, used = {}, {}
    for layer in architecture.layers:
        shape = architecture.shape(layer, widths)
        weights[layer.name] = torch.randn(shape, generator=draw)
        old = bank.weights[layer.name]
        owned = bank.owners[layer.name] != FREE
        weights[layer.name][: old.shape[0], : old.shape[1]][owned] = old[owned]
        used[layer.name] = torch.rand(shape[:2], generator=draw) < 0.6
    weights[HEAD] = torch.randn(architecture.shape(architecture.head, widths, 2), generator=draw)
    private = {}
    for name, stream in architecture.private_streams().items():
        private[name] = torch.rand(architecture.channels(stream, widths, 2), generator=draw) + 0.5
    return Solution(widths, 2, weights, used, private)


growths = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(growths, st.integers(0, 1000))
def test_no_task_changes_and_files_give_the_same_bank(grown: list[tuple[int, int, int]], seed: int) -> None:
    bank, rebuilt = Bank(tiny_architecture()), Bank(tiny_architecture())
    learned: dict[int, torch.Tensor] = {}
    files: dict[int, bytes] = {}
    for task, more in enumerate(grown, start=1):
        new = solution(bank, tuple(size + 1 for size in more) if task == 1 else more, seed + task)  # type: ignore[arg-type]
        expected = new.network(bank.architecture)(IMAGES)
        bank.add(task, new)
        learned[task] = bank.network(task)(IMAGES)
        assert torch.equal(learned[task], expected)
        files[task] = save(bank.tensors(task))
        rebuilt.add_tensors(task, bank.tensors(task))
        for earlier in learned:
            assert torch.equal(bank.network(earlier)(IMAGES), learned[earlier])
            assert torch.equal(rebuilt.network(earlier)(IMAGES), learned[earlier])
            assert save(bank.tensors(earlier)) == files[earlier]


def test_shared_kernels_are_stored_once() -> None:
    bank = Bank(tiny_architecture())
    for task, grown in enumerate([(4, 3, 5), (0, 0, 0), (2, 1, 0)], start=1):
        bank.add(task, solution(bank, grown, task))
    owned = sum(
        bank.tensors(task)[f"{layer.name}.owned"].numel()
        for task in (1, 2, 3)
        for layer in bank.architecture.layers
    )
    used = bank.architecture.weights(bank.widths) * (1 - bank.released_share())
    assert owned == round(used)
    assert 0 < bank.released_share() < 1


def test_stored_bytes_are_those_of_the_file() -> None:
    bank = Bank(tiny_architecture())
    bank.add(1, solution(bank, (4, 3, 5), 1))
    content = save(bank.tensors(1))
    header = 8 + int.from_bytes(content[:8], "little")
    assert len(content) - header == stored_bytes(bank.tensors(1))


def test_released_kernels_of_a_later_task_stay_out_of_an_earlier_one() -> None:
    bank = Bank(tiny_architecture())
    bank.add(1, solution(bank, (4, 3, 5), 1))
    before = bank.network(1)(IMAGES)
    free = {name: owner == FREE for name, owner in bank.owners.items()}
    bank.add(2, solution(bank, (0, 0, 0), 2))
    filled = sum(int((free[name] & (bank.owners[name] == 2)).sum()) for name in free)
    assert filled > 0
    assert torch.equal(bank.network(1)(IMAGES), before)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_bits_survive_packing(rows: int, columns: int, seed: int) -> None:
    bits = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < 0.5
    assert torch.equal(unpacked(packed(bits), (rows, columns)), bits)
