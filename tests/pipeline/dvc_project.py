"""A repository like the project's, with an experiment of seconds, and commands in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.pipeline.tiny_experiment import ROOT

DVC = [sys.executable, "-m", "dvc"]
PROJECT = ("lsg", "pipeline", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore")
NAMED = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def make_clone(folder: Path, epochs: int) -> Path:
    """A repository with the project's code and a tiny experiment: digits in two tasks."""
    folder.mkdir()
    for name in PROJECT:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / name, ignore=ignored) if source.is_dir() else shutil.copy(
            source, folder
        )
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["methods"] = ["scratch", "fine-tune", "cl-lsg"]
    params["train"]["epochs"] = epochs
    params["presets"]["digits"]["data"]["classes_per_task"] = 5
    yaml.dump(params, folder / "params.yaml")
    call(folder, "git", "init", "-q")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "start")
    return folder


def environment(tracking: str = "off") -> dict[str, str]:
    """Units one by one on the CPU, saved after every epoch; `python` is this one."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ours = {"CL_LSG_EXECUTOR": "local", "CL_LSG_TRACKING": tracking, "CL_LSG_GPU_SHARE": "0"}
    quiet = {"DVC_NO_ANALYTICS": "1", "CL_LSG_CHECKPOINT_SECONDS": "0", "PATH": programs}
    return {**os.environ, **ours, **quiet, **NAMED}


def call(folder: Path, *command: str) -> str:
    """Standard output and error of a command that has to succeed."""
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
