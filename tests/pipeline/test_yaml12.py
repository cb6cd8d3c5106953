"""Values are read as DVC reads them, which writes and hashes the same file through another library."""

from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML

from pipeline import yaml12

ROOT = Path(__file__).parents[2]
SCALARS = (
    *("1", "-1", "+1", "010", "0o10", "0x1F", "1.5", "1.", ".5", "1e-05", "1E3", "-1.0e-4", ".inf", "-.inf"),
    *("true", "False", "yes", "no", "on", "off", "n", "y", "null", "~", "", "Null", "none"),
    *("a", "'1'", '"true"', "1:30", "1a", "-", "0x", "e5", "1e", ".", "B"),
)


INSIDE = [f"[{scalar}, {{a: {scalar}}}]" for scalar in SCALARS if scalar not in ("", "-")]


@pytest.mark.parametrize("text", [*SCALARS, *INSIDE])
def test_a_value_is_the_same_by_both_libraries(text: str) -> None:
    ours, theirs = yaml12.load(text), YAML(typ="safe", pure=True).load(text)
    assert (ours, type(ours)) == (theirs, type(theirs))


def test_the_parameters_file_is_the_same_by_both_libraries() -> None:
    text = (ROOT / "params.yaml").read_text()
    assert yaml12.load(text) == YAML(typ="safe", pure=True).load(text)


def test_a_number_that_is_none_is_one_by_both_libraries() -> None:
    ours, theirs = yaml12.load(".nan"), YAML(typ="safe", pure=True).load(".nan")
    assert (ours != ours, theirs != theirs) == (True, True)


@pytest.mark.parametrize("text", ["&a [*a]", "x: &a {y: [1, *a]}", "&a {*a : 1}"])
def test_a_value_within_itself_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match="found a value within itself"):
        yaml12.load(text)


def test_a_value_that_is_named_and_used_twice_is_none_within_itself() -> None:
    assert yaml12.load("x: &a [1, 2]\ny: [*a, *a]") == {"x": [1, 2], "y": [[1, 2], [1, 2]]}


@pytest.mark.timeout(20)
def test_names_of_names_are_looked_into_once() -> None:
    """Two of each before it: 2^26 ways to the first, and 27 values."""
    names = ["&a0 []", *(f"&a{number} [*a{number - 1}, *a{number - 1}]" for number in range(1, 27))]
    value = yaml12.load(f"[{', '.join(names)}]")
    assert value[2] == [[[], []], [[], []]]
    assert value[26][0] is value[26][1]


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "a: 1\nb: 2\na: 3", "x:\n  - {a: 1, a: 1}"])
def test_a_key_that_stands_twice_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match='duplicate key "a"'):
        yaml12.load(text)
