"""Where CI=true, a skipped test fails the run unless tests/allowed_skips.txt lists it and its reason.

A line of that file is `pattern of test ids | reason`; `*` in the pattern stands for anything. So a test that
silently stops running is noticed, whatever made it skip.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ALLOWED = Path("tests/allowed_skips.txt")


def pytest_configure(config: pytest.Config) -> None:
    """Turns the gate on where CI=true."""
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(SkipGate(_read_allowed(config.rootpath / ALLOWED)), "skip-gate")


class SkipGate:
    """Collects skips that are not allowed and fails an otherwise good run."""

    def __init__(self, allowed: list[tuple[re.Pattern[str], str]]) -> None:
        self.allowed = allowed
        self.refused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that skipped, before or while it ran."""
        if not hasattr(report, "wasxfail"):
            self._judge(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that skipped itself as a whole."""
        self._judge(report)

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped:
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not any(test.fullmatch(report.nodeid) and reason == why for test, why in self.allowed):
            self.refused.append(f"{report.nodeid} | {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Makes the run fail if it would have passed."""
        if self.refused and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says which skips are refused."""
        if self.refused:
            terminalreporter.section(f"skips that {ALLOWED} does not allow")
            for line in self.refused:
                terminalreporter.line(line)


def _read_allowed(path: Path) -> list[tuple[re.Pattern[str], str]]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition(" | ") for line in lines if line and not line.startswith("#")]
    return [(_pattern(test.strip()), reason.strip()) for test, _, reason in pairs]


def _pattern(text: str) -> re.Pattern[str]:
    """The text as a pattern in which only `*` is special, since test ids hold brackets."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")))
