"""Numbers of things, as a person reads them."""


def counted(count: int, thing: str) -> str:
    """The count and its noun: `1 unit`, `2 units`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
