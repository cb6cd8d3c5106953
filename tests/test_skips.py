"""The gate that keeps tests from being skipped unnoticed."""

from __future__ import annotations

import pytest

SKIPPED = """
import pytest
@pytest.mark.parametrize("name", ["a-1"])
def test_it(name):
    pytest.skip("no GPU")
def test_other():
    pass
"""
EXPECTED_FAILURE = """
import pytest
@pytest.mark.xfail(reason="known")
def test_it():
    assert False
"""
MODULE = """
import pytest
pytest.skip("nothing here", allow_module_level=True)
"""


def run_tests(pytester: pytest.Pytester, body: str, allowed: str, *options: str) -> pytest.RunResult:
    """Runs pytest with the gate over one test file in a folder of its own."""
    (pytester.mkdir("tests") / "test_it.py").write_text(body)
    (pytester.path / "tests/allowed_skips.txt").write_text(f"# a comment\n\n{allowed}\n")
    return pytester.runpytest_inprocess("-p", "tests.skips", *options, "tests")


@pytest.mark.parametrize(
    ("allowed", "ci", "status"),
    [
        ("", "true", 1),
        ("", "", 0),
        ("tests/test_it.py::test_it[a-1] | no GPU", "true", 0),
        ("tests/test_it.py::* | no GPU", "true", 0),
        ("tests/test_it.py::* | no disk", "true", 1),
        ("tests/test_other.py::* | no GPU", "true", 1),
    ],
)
def test_a_skip_passes_only_where_it_is_listed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, allowed: str, ci: str, status: int
) -> None:
    monkeypatch.setenv("CI", ci)
    run = run_tests(pytester, SKIPPED, allowed)
    assert run.ret == status
    assert ("tests/test_it.py::test_it[a-1] | no GPU" in run.outlines) == bool(status)
    run.assert_outcomes(passed=1, skipped=1)


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "two processes"])
@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (MODULE, "tests/test_it.py | nothing here"),
        (SKIPPED, "tests/test_it.py::test_it[a-1] | no GPU"),
    ],
    ids=["module", "test"],
)
def test_what_skips_itself_is_noticed_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str, refused: str, options: list[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    run = run_tests(pytester, body, "", *options)
    assert run.outlines.count(refused) == 1
    assert run.ret != 0


def test_an_expected_failure_is_no_skip(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert run_tests(pytester, EXPECTED_FAILURE, "").ret == 0
