"""YAML 1.2, as DVC reads it, by PyYAML, which alone reads 1.1: `1e-3` a text, `no` a bool, `010` an 8."""

from __future__ import annotations

import re
from typing import Any

import yaml

_PREFIX = "tag:yaml.org,2002:"
_PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
"""What an unquoted scalar is: the core schema's patterns, and the characters that each begins with."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema of YAML 1.2; a key that stands twice is an error.

    So is a list or a section that contains itself (`&a [*a]`), of which no value can be made.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012, PyYAML's own

    def construct_document(self, node: yaml.Node) -> Any:
        _require_tree(node, (), set())
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                text = f'found duplicate key "{key.value}"'
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """Decimal even with leading zeros, as 1.2 has it."""
        text = node.value
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _require_tree(node: yaml.Node, around: tuple[yaml.Node, ...], seen: set[int]) -> None:
    """Raise ConstructorError where one of the nodes `around` the node is the node itself.

    A node may stand in many places; once is enough to look into it, so those `seen` are passed over.
    """
    if node in around:
        raise yaml.constructor.ConstructorError(None, None, "found a value within itself", node.start_mark)
    if id(node) in seen:
        return
    if isinstance(node, yaml.MappingNode):
        inner = [each for pair in node.value for each in pair]
    else:
        inner = node.value if isinstance(node, yaml.SequenceNode) else []
    for each in inner:
        _require_tree(each, (*around, node), seen)
    seen.add(id(node))


class _AsWritten(_Loader):
    """The same, but a whole number is the text that stands there."""

    def text(self, node: yaml.ScalarNode) -> str:
        return str(node.value)


for _kind, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_PREFIX + _kind, re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor(f"{_PREFIX}int", _Loader.whole_number)
_AsWritten.add_constructor(f"{_PREFIX}int", _AsWritten.text)


def load(text: str) -> Any:
    """The value that `text` writes. Raises yaml.YAMLError for what is no YAML or names a key twice."""
    return yaml.load(text, Loader=_Loader)


def load_names(text: str) -> Any:
    """The same where whole numbers are names: `010` is neither an 8 nor a 10. Raises like `load`."""
    return yaml.load(text, Loader=_AsWritten)
