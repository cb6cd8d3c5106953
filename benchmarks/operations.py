"""Counts the ATen operations of an action: on an accelerator each is a kernel to launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

VIEWS = {"alias", "as_strided", "detach", "expand", "permute", "select", "slice", "split", "squeeze", "t"}
VIEWS |= {"transpose", "unbind", "unfold", "unsqueeze", "view", "_unsafe_view"}
"""Operations that compute nothing."""
ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
"""Operations that only ask for memory."""


class Counter(TorchDispatchMode):
    """Counts what runs inside the context, views and allocations apart."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0
        self.elements: int = 0
        """Entries of what they returned."""

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        returned = function(*arguments, **(options or {}))
        if function.overloadpacket.__name__ not in VIEWS | ALLOCATIONS:
            self.count += 1
            self.elements += sum(leaf.numel() for leaf in tree_leaves(returned) if isinstance(leaf, Tensor))
        return returned


def counted(action: Callable[[], object]) -> int:
    """Operations of one call; a call before it settles what happens only once."""
    action()
    counter = Counter()
    with counter:
        action()
    return counter.count
