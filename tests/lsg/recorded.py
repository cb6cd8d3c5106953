"""What a CUDA graph does, on a CPU: one step's operations, repeated on the same memory with the same numbers.

Whatever a step leaves in another place than the last time, or decides in Python, a replay does not follow, as
on a GPU. An operation for which the host would have to wait for the device is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
WAITING = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default}
"""Operations whose result the host has to see."""


class WaitsForDevice(Exception):
    """A captured step must not look into a tensor."""


def tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class Recorder(TorchDispatchMode):
    """Notes operations with their arguments and results, and what memory held before it was first used."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        refuse_waiting(func, args, kwargs)
        for tensor in tensors((args, kwargs)):
            whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
            self.before.setdefault(whole.data_ptr(), (whole, whole.clone()))
        results = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, results))
        return results

    def restore(self) -> None:
        for whole, content in self.before.values():
            whole.copy_(content)


def refuse_waiting(func: Any, args: Any, kwargs: Any) -> None:
    index = tensors(args[1]) if func in (aten.index.Tensor, aten.index_put_.default) else []
    by_mask = any(each.dtype == torch.bool for each in index)
    checked = func is aten.segment_reduce.default and not kwargs.get("unsafe")
    if func in WAITING or by_mask or checked:
        raise WaitsForDevice(str(func))


class RecordedGraph:
    """`lsg.graphs.Graph` by way of `Recorder`.

    asked: what all graphs were asked to do; a test begins with a list of its own.
    """

    asked: list[str]

    def __init__(self, draws: torch.Generator) -> None:
        self.draws = draws
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def rehearse(self, work: Callable[[], None]) -> None:
        self.asked.append("rehearse")
        work()

    def capture(self, work: Callable[[], None]) -> None:
        self.asked.append("capture")
        state, recorder = self.draws.get_state(), Recorder()
        with recorder:
            work()
        recorder.restore()
        self.draws.set_state(state)
        self.operations = recorder.operations

    @torch.no_grad()
    def replay(self) -> None:
        self.asked.append("replay")
        for func, args, kwargs, results in self.operations:
            again = func(*args, **kwargs)
            for place, value in zip(tensors(results), tensors(again), strict=True):
                if place.data_ptr() != value.data_ptr():
                    place.copy_(value)
