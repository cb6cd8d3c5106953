"""What the README shows works as it stands there, and the list of files names every file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from lsg.job import Job
from lsg.methods import METHODS, Method
from lsg.networks import NETWORKS
from lsg.sequence import learn_sequence
from lsg.train_settings import TrainSettings
from pipeline.benchmarks.images import Nominal
from pipeline.params import load_params, resolve
from pipeline.parser import parser
from tests.lsg.tiny import write_tiny_tasks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FILES = (ROOT / "docs/files.md").read_text()


def test_the_python_example_gives_a_task_s_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_tiny_tasks(tmp_path / "tasks", 2)
    directory = tmp_path / "runs/digits/cl-lsg/seed1-0123456789ab"
    settings = METHODS["cl-lsg"].Settings()
    train = TrainSettings(epochs=2, batch_size=8)
    learn_sequence(
        Job("digits", "cl-lsg", "clean", 1, (1, 2), data, {"name": "lenet"}, train, settings, {2: 0.0}),
        directory,
    )
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    network = names["network"]
    assert isinstance(network, torch.nn.Module)
    assert network(torch.zeros(3, 2, 4, 4)).shape == (3, 2)


def test_the_skeletons_of_extensions_are_whole() -> None:
    """Their imports are right, and a method has all that a method needs."""
    page = (ROOT / "docs/extending.md").read_text()
    names: dict[str, object] = {}
    for skeleton in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(skeleton, names)
    method, architecture = names["MyMethod"], NETWORKS["lenet"]((1, 8, 8))
    assert isinstance(method, type)
    assert issubclass(method, Method)
    method(architecture, method.Settings(), "clean", seed=1)
    fresh: Callable[..., nn.Module] = names["fresh_network"]  # type: ignore[assignment]
    one, two = (fresh(architecture, architecture.streams, 2, 1, 1).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one), "nothing is left to torch's generator"
    assert isinstance(names["NOMINAL"], Nominal)
    assert callable(names["load"])


def test_the_preset_of_own_images_is_one_that_params_yaml_takes(tmp_path: Path) -> None:
    page = (ROOT / "docs/extending.md").read_text()
    preset = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text() + preset)
    data = resolve(load_params(tmp_path / "params.yaml", ["benchmarks=[my-images]"]), "my-images").data
    assert (data.source, data.folder, data.classes_per_task) == ("folder", "pics", 2)


@pytest.mark.parametrize("page", ["README.md", "docs/gpu.md"])
def test_every_command_of_the_page_parses(page: str) -> None:
    text = (ROOT / page).read_text()
    inline = re.findall(r"`(cl-lsg [a-z][^`]*)`", text)
    blocks = re.findall(r"^(cl-lsg [^#\n]+)", text, re.MULTILINE)
    commands = [command for command in (*inline, *blocks) if "--help" not in command]
    assert len(commands) >= 6
    for command in commands:
        parser().parse_args(shlex.split(command)[1:])


def test_every_method_and_preset_of_the_readme_exists() -> None:
    params = load_params(ROOT / "params.yaml")
    for name in (*METHODS, *params.presets):
        assert f"`{name}`" in README, name


def paths_of_the_tree() -> list[str]:
    """A folder stands alone on its line, its files are indented by two below it."""
    (tree,) = re.findall(r"```\n(.*?)```", FILES, re.DOTALL)
    paths, folder = [], ""
    for line in tree.splitlines():
        if re.fullmatch(r"\S+/", line):
            folder = line
        elif entry := re.match(r"  (\S+)", line):
            paths.append(folder + entry[1])
    return paths


def test_the_tree_names_every_file_of_the_library_the_pipeline_and_the_benchmarks_and_no_other() -> None:
    files = [path for folder in ("lsg", "pipeline", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    there = [path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith("__")]
    assert sorted(paths_of_the_tree()) == sorted(there)
