"""From unit directories to tables, figures and a page."""

from pathlib import Path

REPORTS = Path("reports")
SUMMARY = "summary.txt"
"""What a terminal shows of reports/<benchmark>/."""
