"""Reading unit directories: a damaged file is named."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.units.records import open_unit
from tests.pipeline import made_units as made


def test_a_damaged_definition_is_named(tmp_path: Path) -> None:
    directory = made.begin(tmp_path, made.definition("scratch", 1, [1]))
    assert open_unit(directory).key == made.key_of(directory)
    (directory / "unit.json").write_text('{"benchmark": "digits"}')
    with pytest.raises(UserError, match=r"unit\.json is damaged: method"):
        open_unit(directory)
