"""What a person types: fast help, one-line errors, runs without the big packages, views of what is there."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from threading import Thread

import pytest

from pipeline import commands
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.execution.board import UnitsFailed
from pipeline.params import load_params, resolve
from tests.pipeline.tiny_experiment import ROOT, prepared_digits

HEAVY = ("torch", "ray", "mlflow", "pandas", "numpy", "pydantic")
BLOCKED = ("ray", "mlflow", "dvc", "torchvision", "pandas")
BLOCK = f"""
import sys

for name in {BLOCKED!r}:
    sys.modules[name] = None  # as if it were not installed, for imports and for those who only look

from pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""
RUN = ["run", "--benchmark", "digits", "--tasks", "1", "-S", "train.epochs=1"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and prepared digits, as the current one; one CPU process, no tracking."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(prepared_digits() / "tasks", tmp_path / "data/tasks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_LSG_EXECUTOR", "local")
    monkeypatch.setenv("CL_LSG_TRACKING", "off")
    monkeypatch.setenv("CL_LSG_GPU_SHARE", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_help_teaches_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.parser import parser; print(parser().format_help()); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    text, modules = done.stdout.strip().rsplit("\n", 1)
    assert not set(HEAVY) & set(modules.split())
    for word in ("prepare -> targets -> learn -> tables", "runs/BENCH/METHOD", "CL_LSG_RUNS", "examples"):
        assert word in text


def test_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"cl-lsg {stated}\n"


@pytest.mark.slow
def test_local_runs_need_none_of_the_big_packages(project: Path) -> None:
    command = [sys.executable, "-c", BLOCK, *RUN, "--executor", "local", "--tracking", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tables: skipped, because pandas is not installed" in done.stderr
    learned = json.loads((project / "data/learned/digits.json").read_text())["units"]
    assert (project / "runs" / learned["cl-lsg seed1-task01"] / "result.json").exists()


def test_ray_and_mlflow_that_are_not_installed_are_one_sentence(project: Path) -> None:
    for options, said in (
        (["--executor", "ray", "--tracking", "off"], "executor ray is not installed"),
        (["--executor", "local", "--tracking", "sqlite:///x.db"], "MLflow cannot be imported"),
    ):
        command = [sys.executable, "-c", BLOCK, *RUN, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["plan", "-S", "train.epoch=3"],
            "cl-lsg: params.yaml: train.epoch: unknown key; allowed: optimizer",
        ),
        (["targets", "mnist"], "cl-lsg: params.yaml: benchmarks: mnist is none of the presets ("),
        (
            ["targets", "cifar100-superclass", "-S", "train.epochs=3"],
            "cl-lsg: params.yaml: train.epochs: preset cifar100-superclass sets it too; change presets.",
        ),
        (["learn", "digits"], "cl-lsg: data/targets/digits.json is not there; run `cl-lsg targets digits`"),
        (["verify", "data"], "cl-lsg: data holds no unit"),
        (["run", "--method", "ewc"], "cl-lsg: params.yaml: methods: ewc is none of the sections of learn"),
        (["track", "--rebuild"], "holds no units"),
        (["run", "--seed", "1", "-S", "seeds=[]"], "cl-lsg: --seed and -S seeds=[] both set seeds; give one"),
        (["run", "--method", "scratch", "-S", "methods=scratch"], "--method and -S methods=scratch both set"),
        (["run", "--benchmark", "digits", "-S", "+benchmarks=[]"], "--benchmark and -S +benchmarks=[] both"),
        (
            ["sweep", "--benchmark", "digits", "--param", "train.lr=grid:1", "-S", "methods=[pnn]"],
            "--method and -S methods=[pnn] both set methods; give one",
        ),
        (
            ["sweep", "--benchmark", "digits", "--param", "train.lr=grid:1,2", "-S", "train.lr=3"],
            "cl-lsg: --param and -S train.lr=3 both set train.lr; give one",
        ),
        (["record", "mnist", "first"], "cl-lsg: there is no benchmark mnist; presets: "),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    project: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_pages_on_a_port_that_is_taken_are_refused_before_any_link(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["ui", "--port", str(port)]) == 2
    captured = capfd.readouterr()
    assert (
        captured.err == f"cl-lsg: port {port} cannot be had (Address already in use); give another --port\n"
    )
    assert not captured.out


def test_a_second_command_on_a_benchmark_says_that_it_waits_and_then_goes_on(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard = ""
    with (project / "data/.digits.lock").open("a") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        assert main(["status"]) == 0
        second = Thread(target=main, args=(["learn", "digits"],))
        second.start()
        while not heard:
            heard = capfd.readouterr().err
            second.join(0.05)
        assert second.is_alive()
    second.join()
    assert heard == "digits: another command works on it in this folder; waiting for it\n"
    assert "data/targets/digits.json is not there" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--tasks", "two"], "argument --tasks: is 'two'; allowed: a whole number, 1 or more"),
        (["run", "--workers", "0"], "argument --workers: is '0'; allowed: a whole number, 1 or more"),
        (["ui", "--port", "65536"], "argument --port: is '65536'; allowed: 1 to 65535"),
        (["ui", "--port", "-1"], "argument --port: is '-1'; allowed: 1 to 65535"),
        (
            ["sweep", "--benchmark", "digits", "--samples", "1.5"],
            "argument --samples: is '1.5'; allowed: a whole number",
        ),
        (
            ["export", "unit", "--task", "1", "--to", "t.onnx"],
            "argument --to: is 't.onnx'; allowed: a name that",
        ),
        (["export", "unit", "--task", "1", "--to", "t"], "ends in .pt2"),
        (["export", "unit", "--task", "1", "--to", "folder.pt2"], "is a folder"),
    ],
)
def test_an_option_of_the_wrong_form_says_what_is_allowed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "folder.pt2").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UnitsFailed("1 of 2 units failed:\nscratch"), 1, "1 of 2 units failed: scratch"),
        (UserError("no room"), 2, "no room"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            OSError(errno.ENOSPC, "No space left", "a.csv"),
            2,
            "a.csv: No space left; mend that, and give the command again",
        ),
    ],
)
def test_a_command_that_fails_tells_how(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
) -> None:
    def fail(_arguments: object) -> None:
        raise error

    monkeypatch.setitem(commands.COMMANDS, "status", fail)
    assert main(["status"]) == status
    assert capsys.readouterr().err == f"cl-lsg: {said}\n"


def test_a_termination_ends_a_command_as_ctrl_c_does(project: Path) -> None:
    """As a scheduler or `timeout` sends it, here in the middle of a unit."""
    command = [sys.executable, "-m", "pipeline", *RUN, "--method", "scratch", "--tasks", "1"]
    command[command.index("train.epochs=1")] = "train.epochs=2000"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        until = iter(process.stderr.readline, "")
        assert any("1 to run" in line for line in until)
        while not any((project / "runs").rglob("events.jsonl")):
            assert process.poll() is None
            time.sleep(0.1)
        process.terminate()
        *_, last = process.stderr.read().splitlines()
        assert (process.wait(), last) == (
            143,
            "cl-lsg: interrupted; the same command goes on where it stopped",
        )


def test_output_that_nobody_reads_any_more_ends_a_command_quietly(project: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "status"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (128 + signal.SIGPIPE, "")


def test_another_broken_pipe_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_arguments: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setitem(commands.COMMANDS, "status", fail)
    assert main(["status"]) == 2
    assert capfd.readouterr().err.startswith("cl-lsg: Broken pipe; mend that")


def test_a_broken_stage_file_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "data/targets").mkdir()
    (project / "data/targets/digits.json").write_text('{"goals": ')
    assert main(["learn", "digits"]) == 2
    assert "data/targets/digits.json is damaged; delete it and run" in capsys.readouterr().err
    assert main(["status"]) == 0
    assert re.search(r"waiting for goals \(data/targets/digits.json is damaged;", capsys.readouterr().out)


@pytest.mark.slow
def test_run_status_and_verify_tell_one_story(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    before = capsys.readouterr().out
    assert "digits  scratch seed1-task05         waiting" in before
    assert "cl-lsg: waiting for goals" in before

    command = [*RUN[:-1], "train.epochs=2", "--tasks", "2", "--method", "scratch", "cl-lsg", "--no-tables"]
    assert main(command) == 0
    first = capsys.readouterr().err
    assert "targets digits: 2 units, 0 reused, 2 to run" in first
    assert "learn digits: 1 unit, 0 reused, 1 to run" in first
    assert "cl-lsg seed1: finished (units 1/1, tasks 2/2;" in first
    assert main(command) == 0
    assert "learn digits: 1 unit, 1 reused, 0 to run" in capsys.readouterr().err

    assert main(["status", "-S", "train.epochs=2"]) == 0
    after = capsys.readouterr().out
    assert "digits  scratch seed1-task01         finished, " in after
    assert main(["status"]) == 0
    other = capsys.readouterr().out
    assert "2 units that this does not ask for, such as" in other
    assert "runs/digits/cl-lsg" not in other, "whose unit it is cannot be told before the goals are there"

    assert main(["verify", "runs"]) == 0
    assert "2 tasks unchanged, probe logits bit-equal" in capsys.readouterr().out
    record = next((project / "runs/digits/cl-lsg").rglob("task_01.json"))
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "layers": {**content["layers"], "head.bias": "0"}}))
    assert main(["verify", str(record.parent)]) == 1
    assert "was changed after it was written" in capsys.readouterr().err


def test_status_of_what_cannot_be_planned_is_a_fault(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--tasks", "99"]) == 2
    assert "digits has 5 tasks, fewer than --tasks 99 asks for" in capsys.readouterr().err
    assert main(["status", "--benchmark", "cifar100-split"]) == 0
    assert "run `cl-lsg prepare cifar100-split`" in capsys.readouterr().out


def test_status_takes_the_selection_of_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--tasks", "1", "--method", "scratch", "--seed", "3"]) == 0
    assert capsys.readouterr().out.split() == ["digits", "scratch", "seed3-task01", "waiting"]


def test_plan_counts_units_and_steps_of_prepared_data(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three = "methods=[scratch,fine-tune,cl-lsg]"
    assert main(["plan", "-S", three, "-S", "seeds=[1,2]", "-S", "train.epochs=2"]) == 0
    text = capsys.readouterr().out
    batches = [
        -(-task["train"] // 32)
        for task in json.loads((project / "data/tasks/digits/manifest.json").read_text())["tasks"]
    ]
    steps = 2 * 2 * (sum(batches) + sum(batches[1:]) + sum(batches) + sum(batches[1:]))
    assert (
        f"digits: 20 units (5 tasks, seeds 1, 2, scratch, fine-tune, cl-lsg), at most {steps:,} steps" in text
    )


def test_plan_takes_the_selection_of_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selection = "--benchmark digits --method scratch cl-lsg --seed 1 2 --tasks 3"
    assert main(["plan", *selection.split()]) == 0
    assert "digits: 8 units (3 tasks, seeds 1, 2, scratch, cl-lsg)" in capsys.readouterr().out
    assert main(["plan", "--tasks", "6"]) == 2
    assert "digits has 5 tasks, fewer than --tasks 6 asks for" in capsys.readouterr().err


def test_plan_goes_by_the_settings_where_the_prepared_tasks_are_of_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "-S", "presets.digits.data.classes_per_task=5", "-S", "methods=[scratch]"]) == 0
    assert "digits: 2 units (2 tasks, seeds 1, scratch)" in capsys.readouterr().out


def test_a_tar_file_of_the_images_is_there_too(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import estimate

    monkeypatch.setattr(estimate, "MEASURED_SECONDS", 0.0)
    plan = ["plan", "-S", "benchmarks=[miniimagenet]", "-S", "presets.miniimagenet.data.folder=mini.tar"]
    plan += ["-S", "presets.miniimagenet.network.width=4", "-S", "presets.miniimagenet.train.batch_size=2"]
    assert main(plan) == 0
    assert "its images are not at mini.tar" in capsys.readouterr().out
    (project / "mini.tar").touch()
    assert main(plan) == 0
    assert "its images are not" not in capsys.readouterr().out


def test_plan_shares_images_out_as_the_split_does(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 500 images a class 0.001 is half an image, rounded up: 499 to train on, of 5 classes, by twos."""
    from pipeline import estimate

    monkeypatch.setattr(estimate, "MEASURED_SECONDS", 0.0)
    preset = "presets.miniimagenet"
    changes = [f"{preset}.data.validation=0.001", f"{preset}.train.batch_size=2", f"{preset}.train.epochs=1"]
    changes += ["benchmarks=[miniimagenet]", "methods=[scratch]", f"{preset}.network.width=4"]
    assert main(["plan", *(part for change in changes for part in ("-S", change))]) == 0
    assert f"at most {20 * (5 * 499 // 2):,} steps" in capsys.readouterr().out


def test_tasks_that_other_settings_prepared_are_not_counted_for_these(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import estimate

    monkeypatch.setattr(estimate, "MEASURED_SECONDS", 0.0)
    other, plan = ["-S", "presets.digits.data.validation=0.0"], ["plan", "-S", "methods=[scratch]"]
    assert main(plan) == 0
    steps = re.findall(r"at most ([\d,]+) steps", before := capsys.readouterr().out)
    assert "with 1 unit at a time on this machine" in before, "as the local executor learns them"
    assert main(["prepare", "digits", *other]) == 0
    assert main(plan) == 0
    assert re.findall(r"at most ([\d,]+) steps", capsys.readouterr().out) == steps
    assert main(["status"]) == 2
    said = capsys.readouterr().err
    assert "was prepared with validation 0.0 instead of 0.25; run `cl-lsg prepare digits`" in said
    assert main(["prepare", "digits"]) == 0
    assert main(["status"]) == 0


@pytest.mark.parametrize(
    "command", ["run --benchmark digits", "plan", "sweep --benchmark digits --param train.lr=grid:0.1,0.2"]
)
def test_protocol_clean_without_validation_images_is_refused_before_anything_is_learned(
    project: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    shutil.rmtree(project / "data/tasks")
    assert main([*command.split(), "-S", "presets.digits.data.validation=0"]) == 2
    assert "set presets.digits.data.validation above 0" in capsys.readouterr().err
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("plan --overrides", "write plan --paper --overrides"),
        ("plan --paper --seed 1", "leave these options out"),
        ("plan --paper --overrides --tasks 2", "--tasks is none of them; leave it out"),
        ("tables --show -S seeds=[7]", "leave -S out"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    assert main(command.split()) == 2
    assert said in capsys.readouterr().err


def test_the_papers_plan_leaves_out_what_has_no_images_and_says_so(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import estimate

    monkeypatch.setattr(estimate, "MEASURED_SECONDS", 0.0)
    assert main(["plan", "--paper"]) == 0
    text = capsys.readouterr().out
    assert (
        "miniimagenet: left out, because its images are not at data/miniimagenet; put the images there"
        in text
    )
    assert "cifar100-split: 87 units (10 tasks, seeds 1, 2, 3, scratch, fine-tune, pnn, " in text
    assert "cifar100-superclass: 147 units (20 tasks" in text
    assert main(["plan", "--paper", "--overrides"]) == 0
    overrides = capsys.readouterr().out.split()
    assert overrides[:2] == ["-S", "benchmarks=[cifar100-split,cifar100-superclass]"]
    params = load_params(overrides=overrides[1::2])
    left = {name: resolve(params, name).data.validation for name in ("cifar100-superclass", "miniimagenet")}
    assert left == {"cifar100-superclass": 0.0, "miniimagenet": 0.05}  # 2500 and 2375 images to train on
    assert main(["status", *overrides]) == 0
    assert main(["plan", "--paper", "--overrides", "-S", "train.epochs=1"]) == 0
    assert capsys.readouterr().out.split()[-2:] == ["-S", "train.epochs=1"]
    os.mkdir("data/miniimagenet")
    assert main(["plan", "--paper", "--overrides"]) == 0
    assert "miniimagenet" in capsys.readouterr().out
