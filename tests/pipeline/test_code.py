"""The code digest changes with what a method runs, and with nothing else."""

import ast
from pathlib import Path

import pytest

from pipeline.units import code

FILES = {
    "__init__.py": "from lsg.other import unused\n",
    "sequence.py": "from lsg.bank import Bank\nfrom lsg.methods import METHODS\n",
    "bank.py": '"""Weights."""\nimport re\ndef size(n):\n    """Count."""\n    # note\n    return n + 1\n',
    "other.py": "unused = 1\n",
    "methods/__init__.py": "from lsg.methods.grow import Grow\nfrom lsg.methods.plain import Plain\n",
    "methods/grow.py": "from . import tools\nfrom ..masks import gate\n",
    "methods/plain.py": "import lsg.bank\n",
    "methods/tools.py": "step = 1\n",
    "masks.py": "gate = 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code, "package_folder", lambda: tmp_path)
    return tmp_path


def digest(method: str) -> str:
    return code.code_digest(["lsg.sequence", f"lsg.methods.{method}"])


def test_closure_follows_absolute_and_relative_imports_but_no_registry(package: Path) -> None:
    found = code.closure(["lsg.sequence", "lsg.methods.grow"], package)
    assert set(found) == {
        "lsg.sequence",
        "lsg.bank",
        "lsg.methods.grow",
        "lsg.methods.tools",
        "lsg.masks",
    }


def test_a_method_is_untouched_by_another_methods_code(package: Path) -> None:
    before = digest("plain"), digest("grow")
    (package / "masks.py").write_text("gate = 2\n")
    assert digest("plain") == before[0]
    assert digest("grow") != before[1]


def test_a_new_method_in_the_registry_changes_no_digest(package: Path) -> None:
    before = digest("plain")
    (package / "methods/new.py").write_text("")
    (package / "methods/__init__.py").write_text(FILES["methods/__init__.py"] + "import lsg.methods.new\n")
    assert digest("plain") == before


@pytest.mark.parametrize(
    "same",
    [
        '"""Shared weights, said better."""\nimport re\ndef size(n):\n    return (n+1)\n',
        "import re\n\n\ndef size(n):  # count\n    '''Counts.'''\n    return n + 1\n",
        'import re\n"""A string below an import, as below a constant."""\ndef size(n):\n    return n + 1\n',
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(package: Path, same: str) -> None:
    before = digest("plain")
    (package / "bank.py").write_text(same)
    assert digest("plain") == before


def test_a_changed_number_counts(package: Path) -> None:
    before = digest("plain")
    (package / "bank.py").write_text(FILES["bank.py"].replace("n + 1", "n + 2"))
    assert digest("plain") != before


def test_registries_hold_names_alone_since_their_code_does_not_count() -> None:
    """A function there could change results under the old key."""
    for registry in code.REGISTRIES:
        path = code.package_folder().joinpath(*registry.split(".")[1:], "__init__.py")
        kinds = {type(node) for node in ast.parse(path.read_text()).body}
        assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign}


def test_the_librarys_own_closure_holds_the_method_and_no_other_method() -> None:
    found = code.closure(["lsg.sequence", "lsg.methods.scratch"], code.package_folder())
    assert {"lsg.sequence", "lsg.methods.scratch"} <= set(found)
    assert "lsg.methods.cl_lsg" not in found


@pytest.mark.parametrize("method", ["scratch", "fine_tune", "cpg", "pnn", "apd", "den", "packnet"])
def test_a_change_of_growth_leaves_methods_without_candidates_as_they_are(method: str) -> None:
    roots = {name: ["lsg.sequence", f"lsg.methods.{name}"] for name in (method, "cl_lsg", "grow")}
    found = {name: code.closure(roots[name], code.package_folder()) for name in roots}
    assert "lsg.training" in found[method]
    assert [name for name in found if "lsg.growth" in found[name]] == ["cl_lsg", "grow"]
