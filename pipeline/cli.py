"""`cl-lsg`: what a person types. A command's work lies in `pipeline.commands`, imported when called."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import current_thread, main_thread
from typing import TypeAlias

from pipeline.errors import UserError

ABOUT = """\
Continual learning by learnable sparse growth: experiments from params.yaml to tables.

the way of an experiment
  prepare -> targets -> learn -> tables, for each benchmark named in params.yaml
  dvc repro        all of it, skipping what is up to date
  cl-lsg run       the same without DVC

where things lie
  params.yaml                      what is run; every value is explained there
  data/tasks/BENCH/                prepared tasks (prepare)
  data/targets/BENCH.json          goal accuracies (targets)
  data/planned/BENCH.json          which units a run comes to, for `cl-lsg record --planned`
  data/units/                      finished units, for `dvc push` and `dvc pull`
  runs/BENCH/METHOD/SEED-KEY/      what was learned: a unit; finished ones are never repeated
  reports/BENCH/                   tables and figures (tables)
  results/BENCH/NAME/              recorded experiments (record)
"""

EXAMPLES = """\
examples
  cl-lsg plan                                  what the experiment costs on this machine
  cl-lsg run --benchmark digits                minutes on a laptop, no download
  cl-lsg run --benchmark digits --method scratch cl-lsg --seed 1 2 -S train.epochs=5
  cl-lsg sweep --benchmark digits --param learn.cl-lsg.penalty=loguniform:1e-5,1e-3 --samples 8
  cl-lsg status                                what is finished, running, or out of date
  cl-lsg verify runs/digits                    prove that nothing was forgotten
  cl-lsg export runs/digits/cl-lsg/seed1-KEY --task 2 --to task2.pt2
"""

SWEEP = """\
kinds of --param
  grid:A,B,C        every value
  choice:A,B,C      drawn from the values
  uniform:LOW,HIGH  drawn between two numbers
  loguniform:LOW,HIGH  the same, evenly over orders of magnitude

example
  cl-lsg sweep --benchmark digits --method cl-lsg --tasks 3 --seed 1 --samples 8 \\
      --param learn.cl-lsg.seed_fraction=choice:0.0625,0.125,0.25 \\
      --param learn.cl-lsg.penalty=loguniform:1e-5,1e-3

A trial is learned as ordinary units: `dvc repro` finds them, and the sweep finds those of `dvc repro`. The
same command goes on where it was stopped. Ray runs the trials, so --executor concerns the baselines alone.
"""

RECORD = """\
With neither option: the experiment that the stages targets and learn finished; a hole in it is an error. With
--planned: the finished units alone, and the names of those that are missing. With --join: what other records
hold, each unit with the machine it was learned on. The same command may be repeated.

examples
  cl-lsg record cifar100-split tasks-1-3
  cl-lsg record cifar100-split tasks-1-3 --planned
  cl-lsg record cifar100-superclass gpu --planned other/data/planned/cifar100-superclass.json
  cl-lsg record cifar100-split seeds-1-2 --join seed-1 seed-2
  cl-lsg record cifar100-split with-new-cpg --join seed-1:scratch,cl-lsg new:cpg
"""

IMPORT = """\
Each unit is checked first: its name against what it covers, and its networks against its certificate. A
finished unit of the store is never overwritten, and the same command may be repeated.

example
  tar -czf units.tar.gz runs            # on the other machine
  cl-lsg import units.tar.gz            # here
"""

MACHINE = """\
how units run (not in params.yaml, as it changes no result, but for threads and CPU or GPU)
  CL_LSG_EXECUTOR            ray (default) or local
  CL_LSG_WORKERS             units at a time (default: CPUs / threads)
  CL_LSG_THREADS             torch threads of a unit (default 1; part of a unit's identity)
  CL_LSG_GPU_SHARE           GPUs of a unit, 0 = CPU (default: what there is); CPU or GPU is part of identity
  CL_LSG_CHECKPOINT_SECONDS  seconds between checkpoints (default 20)
  CL_LSG_RUNS                where units lie (default runs/)
  CL_LSG_TRACKING            mlflow (default) or off
  MLFLOW_TRACKING_URI        default mlflow.db of the project
  RAY_ADDRESS                a running Ray cluster (default: start one on this machine)
"""

LAST_PORT = 65535

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers and `timeout` send it: what is under way ends as after Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Status 2 for bad input, 1 for units that failed, 130 after Ctrl-C, 143 after SIGTERM.

    Where nobody reads the output any more, as of `cl-lsg status | head`, the status is that of other tools.
    """
    arguments = parser().parse_args(argv)
    if current_thread() is main_thread():  # Python lets no other set a handler
        signal.signal(signal.SIGTERM, _terminate)
    try:
        from pipeline.commands import execute

        status = execute(arguments)
        print(end="", flush=True)
        return status
    except UserError as error:
        return _fail(2, str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 128 + signal.SIGPIPE
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}; mend that, and the same command goes on where it stopped"
        return _fail(2, text)
    except KeyboardInterrupt as stopped:
        number = signal.SIGTERM if isinstance(stopped, _Terminated) else signal.SIGINT
        return _fail(128 + number, "interrupted; the same command goes on where it stopped")


def _terminate(_number: int, _frame: object) -> None:
    raise _Terminated


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="cl-lsg",
        description=ABOUT,
        epilog=f"{EXAMPLES}\n{MACHINE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_stages(commands)
    _add_run(commands)
    _add_sweep(commands)
    _add_views(commands)
    return top


def _add_stages(commands: Commands) -> None:
    texts = {
        "prepare": "read a benchmark's images and cut them into tasks",
        "targets": "learn the baselines; their accuracies become the goals",
        "learn": "learn the other methods towards those goals",
        "tables": "write tables, figures and the page from what was learned (BENCH: default all)",
    }
    for name, text in texts.items():
        stage = _command(commands, name, text, f"example: cl-lsg {name} digits")
        nargs = "?" if name == "tables" else None
        stage.add_argument("benchmark", nargs=nargs, metavar="BENCH", help="a preset of params.yaml")
        _add_overrides(stage)
        if name in ("targets", "learn"):
            _add_machine(stage)
        if name == "tables":
            stage.add_argument("--show", action="store_true", help="print what is there, write nothing")


def _add_run(commands: Commands) -> None:
    run = _command(commands, "run", "all four stages, without DVC", f"{EXAMPLES}\n{MACHINE}")
    _add_selection(run)
    run.add_argument("--no-tables", action="store_true", help="stop before the stage tables")
    _add_overrides(run)
    _add_machine(run)


def _add_sweep(commands: Commands) -> None:
    text = "learn with many values of params.yaml, and choose by validation accuracy and size"
    sweep = _command(commands, "sweep", text, SWEEP)
    sweep.add_argument("--benchmark", required=True, metavar="BENCH", help="a preset of params.yaml")
    sweep.add_argument("--method", default="cl-lsg", metavar="METHOD", help="default cl-lsg")
    sweep.add_argument("--seed", nargs="+", type=int, metavar="N", help="instead of those in params.yaml")
    sweep.add_argument("--tasks", type=_positive, metavar="N", help="only the first N tasks")
    sweep.add_argument(
        "--param", action="append", default=[], metavar="KEY=KIND:VALUES", help="what varies; repeatable"
    )
    sweep.add_argument(
        "--samples",
        type=_positive,
        default=1,
        metavar="N",
        help="trials; for each point of a grid (default 1)",
    )
    sweep.add_argument("--search", choices=("random", "optuna"), default="random", help="default random")
    sweep.add_argument(
        "--scheduler",
        choices=("asha", "fifo"),
        default="asha",
        help="asha (default) stops trials that fall behind; fifo runs all to their end",
    )
    sweep.add_argument(
        "--within",
        type=float,
        default=0.5,
        metavar="POINTS",
        help="choose the smallest network at most so many points of validation accuracy below the best "
        "(default 0.5)",
    )
    _add_overrides(sweep)
    _add_machine(sweep)


def _add_views(commands: Commands) -> None:
    _add_plan(commands)
    _add_status(commands)
    _add_verify(commands)
    _add_import(commands)
    _add_record(commands)
    _add_export(commands)
    _add_ui(commands)
    _add_track(commands)


def _add_plan(commands: Commands) -> None:
    plan = _command(commands, "plan", "units, steps and hours of the experiment; runs a few steps to tell")
    _add_selection(plan)
    plan.add_argument("--paper", action="store_true", help="for the paper's three benchmarks instead")
    plan.add_argument(
        "--overrides",
        dest="overrides_only",
        action="store_true",
        help="with --paper: print only its -S options, for `dvc exp run $(cl-lsg plan --paper --overrides)`",
    )
    _add_overrides(plan)


def _add_status(commands: Commands) -> None:
    status = _command(commands, "status", "units finished, running and waiting, and what is out of date")
    _add_selection(status)
    _add_overrides(status)


def _add_verify(commands: Commands) -> None:
    verify = _command(commands, "verify", "rebuild what was learned from its files and compare")
    verify.add_argument("directory", type=Path, metavar="DIR", help="a unit's directory, or a folder of them")


def _add_import(commands: Commands) -> None:
    bring = _command(commands, "import", "bring finished units of another machine into the store", IMPORT)
    bring.add_argument("source", type=Path, metavar="FOLDER_OR_TAR", help="its runs/, or a tar file of it")


def _add_record(commands: Commands) -> None:
    text = "keep a benchmark's numbers and its units' digests in results/"
    record = _command(commands, "record", text, RECORD)
    record.add_argument("benchmark", metavar="BENCH", help="a preset of params.yaml")
    record.add_argument("name", metavar="NAME", help="of the folder results/BENCH/NAME, which is replaced")
    source = record.add_mutually_exclusive_group()
    source.add_argument(
        "--planned",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help="what is finished of a run under way, by what it planned (default data/planned/BENCH.json)",
    )
    source.add_argument(
        "--join",
        nargs="+",
        metavar="RECORD[:METHOD,...]",
        help="what these records in results/BENCH hold, all of it or some methods, as one",
    )


def _add_export(commands: Commands) -> None:
    export = _command(commands, "export", "write one task's network to a file for torch.export.load alone")
    export.add_argument("directory", type=Path, metavar="DIR", help="a unit's directory")
    export.add_argument("--task", type=_positive, required=True, metavar="N", help="which task's network")
    export.add_argument("--to", type=_exported, required=True, metavar="FILE.pt2", help="the file to write")


def _add_ui(commands: Commands) -> None:
    ui = _command(commands, "ui", "MLflow's pages on this machine, with the link that compares runs")
    ui.add_argument("--port", type=_port, default=5000, metavar="N", help="default 5000")


def _add_track(commands: Commands) -> None:
    track = _command(commands, "track", "MLflow's view of the units")
    track.add_argument(
        "--rebuild", action="store_true", required=True, help="write it again from the units' directories"
    )
    track.add_argument("--benchmark", nargs="+", metavar="BENCH", help="default: those in params.yaml")
    _add_overrides(track)


def _command(commands: Commands, name: str, text: str, epilog: str = "") -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_selection(command: argparse.ArgumentParser) -> None:
    for option, metavar, kind in (("benchmark", "BENCH", str), ("method", "METHOD", str), ("seed", "N", int)):
        command.add_argument(
            f"--{option}", nargs="+", type=kind, metavar=metavar, help="instead of those in params.yaml"
        )
    command.add_argument(
        "--tasks", type=_positive, metavar="N", help="only the first N tasks of each benchmark"
    )


def _add_overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-S",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of params.yaml for this command, for example -S train.epochs=3; repeatable",
    )


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--executor", choices=("ray", "local"), help="many units at a time, or one by one")
    command.add_argument("--workers", type=_positive, metavar="N", help="units at a time")
    command.add_argument("--tracking", metavar="off|URI", help="no MLflow, or another of its stores")


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; allowed: a whole number, 1 or more")
    return number


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"is {text!r}; allowed: 1 to {LAST_PORT}")
    return int(text)


def _exported(text: str) -> Path:
    if not text.endswith(".pt2"):
        raise argparse.ArgumentTypeError(
            f"is {text!r}; allowed: a name that ends in .pt2, torch.export's format"
        )
    return Path(text)


def _reader_is_gone() -> bool:
    """Whether the pipe behind standard output is closed; what was still to be written then goes nowhere."""
    output, poll = sys.stdout.fileno(), select.poll()
    poll.register(output, 0)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # or Python tells of the pipe when it ends
    return True


def _fail(status: int, text: str) -> int:
    print(f"cl-lsg: {' '.join(text.split())}", file=sys.stderr)
    return status
