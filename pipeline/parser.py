"""The command line of `cl-lsg`: its commands and their options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from pipeline.help_texts import ABOUT, EXAMPLES, IMPORT, MACHINE, RECORD, SWEEP

LAST_PORT = 65535
LEARNING = ("targets", "learn", "run", "sweep")
"""Commands that learn what the store lacks, and go on where they stopped; the others look at it."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class _Version(argparse.Action):
    """Looks the version up only when it is asked for, which keeps all other commands quick."""

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: object, **_options: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version(parser.prog)
        except PackageNotFoundError:
            found = "not installed: run from a checkout"
        print(parser.prog, found)
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="cl-lsg",
        description=ABOUT,
        epilog=f"{EXAMPLES}\n{MACHINE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the installed version and exit")
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
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"is {text!r}, which is a folder; allowed: the file to write")
    return Path(text)
