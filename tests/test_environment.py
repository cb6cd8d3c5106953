"""The lock, the Makefile and pyproject.toml agree, and the library needs little."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
BOOTSTRAP = (ROOT / "requirements-bootstrap.lock").read_text()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> set[str]:
    return {
        normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", LOCK, flags=re.MULTILINE)
    }


def test_every_dependency_is_locked() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(each for name in extras if name != "all" for each in extras[name])]
    names = {normal(re.split(r"[\[<>=~! ]", requirement)[0]) for requirement in wanted}
    assert names - locked() == set()


def test_every_locked_package_has_hashes_and_no_address() -> None:
    for lock in (LOCK, BOOTSTRAP):
        blocks = re.split(r"\n(?=[A-Za-z0-9])", lock)
        assert all("--hash=sha256:" in block for block in blocks)
        assert not re.search(r"https?:|index-url|find-links|@ file", lock)


def test_the_extra_all_is_all_extras() -> None:
    extras = dict(PROJECT["optional-dependencies"])
    (every,) = extras.pop("all")
    assert set(re.search(r"\[(.*)\]", every).group(1).split(",")) == set(extras)


def test_uv_is_pinned_once() -> None:
    version = re.search(r"^UV_VERSION := (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert BOOTSTRAP.startswith(f"uv=={version.group(1)} ")


def test_the_library_needs_torch_numpy_and_safetensors_alone() -> None:
    names = {re.split(r"[<>=]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert names == {"numpy", "safetensors", "torch"}


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Make as from a shell, also where these tests themselves were started by make."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ARGS"))}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True)


def test_make_alone_lists_every_target_with_its_text() -> None:
    listed = make().stdout
    for target in ("setup", "repro", "test", "lint", "ui", "paper", "lock", "clean"):
        assert re.search(rf"^{target} +\w", listed, flags=re.MULTILINE), target


def test_repro_runs_the_pipeline_then_shows_the_tables() -> None:
    lines = make("--dry-run", "--always-make", "repro").stdout.splitlines()
    assert [line.split("/")[-1].strip() for line in lines[-2:]] == ["dvc repro", "cl-lsg tables --show"]
    assert any("--require-hashes requirements.lock" in line for line in lines)


def test_an_old_python_is_one_clear_error(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "requirements-bootstrap.lock", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    run = make("setup", f"PYTHON={old}", folder=tmp_path)
    assert run.returncode != 0
    assert f"Python 3.11 or newer is needed, and '{old}' is not" in run.stderr
    assert not (tmp_path / ".venv").exists()


def test_tests_do_not_see_where_a_persons_runs_lie() -> None:
    theirs = {"CL_LSG_RUNS": "/runs", "MLFLOW_TRACKING_URI": "http://mlflow", "RAY_ADDRESS": "10.0.0.1:6379"}
    theirs["CL_LSG_CIFAR100"] = "/images"
    tell = "import os, tests.conftest; print(*sorted(set(os.environ) & {}))"
    told = subprocess.run(
        [sys.executable, "-c", tell.format(set(theirs))],
        cwd=ROOT,
        env={**os.environ, **theirs},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["CL_LSG_CIFAR100"]
