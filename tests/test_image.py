"""The Dockerfile's steps, as far as they can be exercised without Docker."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def of_kind(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def environment() -> dict[str, str]:
    pairs = [pair for line in of_kind("ENV") for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path at the root, or anything below it, out of the image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line.removeprefix("**/") for line in lines if line and not line.startswith("#")]
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def copied() -> list[str]:
    """The sources of all COPY instructions."""
    words = [shlex.split(line) for line in of_kind("COPY")]
    return [word for line in words for word in line[:-1] if not word.startswith("--")]


def test_every_copied_file_exists_and_is_not_ignored() -> None:
    assert copied()[-1] == "."
    for name in copied()[:-1]:
        assert (ROOT / name).is_file(), name
        assert not ignored(name), name


def test_nothing_that_a_run_needs_is_ignored_and_nothing_private_is_copied() -> None:
    tracked = [
        ".dvc",
        ".dvcignore",
        "Makefile",
        "dvc.yaml",
        "lsg",
        "params.yaml",
        "pipeline",
        "pyproject.toml",
    ]
    assert not [name for name in tracked if ignored(name)]
    private = [".git", ".venv", ".dvc/config.local", "data", "runs", "reports", "mlflow.db", "mlruns"]
    assert not [name for name in private if not ignored(name)]


def test_the_installation_is_the_makefiles() -> None:
    order = [name for name, _ in instructions()]
    runs = of_kind("RUN")
    assert [line for line in runs if line.startswith("make")] == ["make packages", "make setup"]
    assert not [line for line in runs if "pip" in line.split()], "packages come from the lock alone"
    assert order.index("USER") < order.index("WORKDIR") < order.index("COPY"), "nothing is installed as root"


def test_the_command_is_the_main_job_of_a_user_without_rights() -> None:
    assert json.loads(of_kind("CMD")[0]) == ["make", "repro"]
    user, _, group = of_kind("USER")[0].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    home = environment()["HOME"]
    assert any(f"chown {user}:{group} {home}" in line for line in of_kind("RUN"))


def test_what_the_makefile_exports_holds_in_the_image_too() -> None:
    makefile = (ROOT / "Makefile").read_text()
    exported = dict(re.findall(r"^export ([A-Z_]+) := (\w+)$", makefile, flags=re.MULTILINE))
    assert len(exported) >= 3
    assert exported.items() <= environment().items()


def test_it_is_cpu_unless_a_build_argument_says_gpus() -> None:
    assert of_kind("ARG") == ["GPUS=void"]
    assert environment()["NVIDIA_VISIBLE_DEVICES"] == "${GPUS}"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The folder as the image has it: what .dockerignore lets through, without a git history."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        here = Path(folder).relative_to(ROOT)
        return [name for name in names if ignored(name) or ignored(str(here / name))]

    return Path(shutil.copytree(ROOT, tmp_path / "image", ignore=left_out, symlinks=True))


def test_dvc_works_without_a_git_history(image: Path) -> None:
    step = next(line for line in of_kind("RUN") if "dvc config" in line)
    dvc = str(Path(sys.executable).with_name("dvc"))
    subprocess.run([dvc, *shlex.split(step)[1:]], cwd=image, check=True)
    path = f"{Path(dvc).parent}{os.pathsep}{os.environ['PATH']}"
    stage = subprocess.run(
        [dvc, "repro", "prepare"], cwd=image, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert stage.returncode == 0, stage.stdout + stage.stderr
    assert (image / "data/tasks/digits/manifest.json").is_file()
    assert "digits" in (image / "dvc.lock").read_text()
