"""Where CI=true, a skipped test fails the run unless tests/allowed_skips.txt lists it and its reason.

A line of that file is `pattern of test ids | reason`; `*` in the pattern stands for anything. So a test that
silently stops running is noticed, whatever made it skip. Where pytest-xdist spreads the tests over processes,
each of them judges what it collected and the first one hears of it at the end.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

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
            self._refuse(f"{report.nodeid} | {reason}")

    def _refuse(self, skip: str) -> None:
        if skip not in self.refused:
            self.refused.append(skip)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A process of xdist has ended: xdist hands on the skips of tests, but not those of whole modules."""
        for skip in getattr(node, "workeroutput", {}).get("refused", []):
            self._refuse(skip)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Makes the run fail if it would have passed."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["refused"] = self.refused
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
