"""The commands of `cl-lsg`, one function each: arguments in, exit status out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lsg.bank import ForgettingError
from lsg.certificate import Report
from lsg.export import UnknownTaskError, export
from lsg.files import DamagedFileError
from lsg.records import RESULT
from pipeline.errors import UserError
from pipeline.estimate import estimate, paper_overrides, say_left_out
from pipeline.execution.board import UnitsFailed
from pipeline.execution.hardware import describe
from pipeline.execution.machine import read_machine
from pipeline.learn import learn as learn_stage
from pipeline.locks import held
from pipeline.params import load_params, resolve
from pipeline.params.experiment import Params
from pipeline.params_file import PARAMS_FILE, list_override
from pipeline.parser import LEARNING
from pipeline.planned import planned_file, read_planned
from pipeline.prepare import prepare as prepare_stage
from pipeline.report import REPORTS, SUMMARY
from pipeline.stage import Bench
from pipeline.status import status as show_status
from pipeline.targets import targets as targets_stage
from pipeline.tracking import pages
from pipeline.tracking import tracker as tracking
from pipeline.units.imported import bring
from pipeline.units.kept import restore
from pipeline.units.proven import prove, require_whole, units_below
from pipeline.units.store import RunStore
from pipeline.units.unit import DATA
from pipeline.wording import counted

Arguments = argparse.Namespace


def execute(arguments: Arguments) -> int:
    """Run the command. Raises UserError for bad input; what failed in spite of good input is status 1."""
    try:
        COMMANDS[arguments.command](arguments)
    except (UnitsFailed, ForgettingError) as error:
        print(f"cl-lsg: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _prepare(arguments: Arguments) -> None:
    _prepare_benchmark(_params(arguments), arguments.benchmark, _bench(arguments))


def _targets(arguments: Arguments) -> None:
    params, bench = _params(arguments), _bench(arguments)
    with _alone(arguments.benchmark, bench):
        targets_stage(params, arguments.benchmark, bench)


def _learn(arguments: Arguments) -> None:
    params, bench = _params(arguments), _bench(arguments)
    with _alone(arguments.benchmark, bench):
        learn_stage(params, arguments.benchmark, bench)


def _tables(arguments: Arguments) -> None:
    if arguments.show:
        if arguments.overrides:
            raise UserError("--show prints what was written with other parameters; leave -S out")
        _show_tables([arguments.benchmark] if arguments.benchmark else [*load_params().benchmarks])
        return
    params, bench = _params(arguments), _bench(arguments)
    if arguments.overrides:
        print("tables: of what was learned last; -S changes nothing in them", file=sys.stderr)
    for benchmark in params.benchmarks:
        _write_tables(benchmark, bench)


def _run(arguments: Arguments) -> None:
    params, bench = _params(arguments), _bench(arguments)
    with_tables = not arguments.no_tables and _has_pandas()
    for benchmark in params.benchmarks:
        with _alone(benchmark, bench):
            _prepare_benchmark(params, benchmark, bench)
            targets_stage(params, benchmark, bench, arguments.tasks)
            learn_stage(params, benchmark, bench, arguments.tasks)
            if with_tables:
                _write_tables(benchmark, bench)


def _sweep(arguments: Arguments) -> None:
    from pipeline.sweep.command import sweep

    bench = _bench(arguments)
    sweep(arguments, bench, lambda params: _prepare_benchmark(params, arguments.benchmark, bench))


def _plan(arguments: Arguments) -> None:
    if not arguments.paper:
        if arguments.overrides_only:
            raise UserError("--overrides prints those of the paper; write plan --paper --overrides")
        estimate(_params(arguments), _bench(arguments), arguments.tasks)
        return
    if arguments.benchmark or arguments.method or arguments.seed:
        raise UserError("plan --paper has its own benchmarks, methods and seeds; leave these options out")
    params = load_params(PARAMS_FILE, arguments.overrides)
    chosen = [*paper_overrides(params), *arguments.overrides]
    if arguments.overrides_only:
        if arguments.tasks:
            raise UserError("--overrides prints -S options, and --tasks is none of them; leave it out")
        print(" ".join(f"-S {override}" for override in chosen))
        return
    say_left_out(params)
    estimate(load_params(PARAMS_FILE, chosen), _bench(arguments), arguments.tasks)


def _status(arguments: Arguments) -> None:
    show_status(_params(arguments), _bench(arguments), arguments.tasks)


def _verify(arguments: Arguments) -> None:
    restore(DATA, RunStore.from_environment(), needed=False)
    if not arguments.directory.exists():
        raise UserError(f"{arguments.directory} is not there; give a directory of runs/, or runs itself")
    units, faults = units_below(arguments.directory), []
    if not units:
        raise UserError(f"{arguments.directory} holds no unit; give a directory of runs/, or runs itself")
    for directory in units:
        try:
            unfinished = "" if (directory / RESULT).is_file() else "; not finished"
            print(f"{directory}: {_proof(prove(directory))}{unfinished}")
        except (UserError, ForgettingError, OSError) as error:
            print(f"{directory}: failed")
            faults.append(f"{directory}: {error}")
    if faults:
        raise UnitsFailed(f"{len(faults)} of {counted(len(units), 'unit')} failed: {'; '.join(faults)}")


def _import(arguments: Arguments) -> None:
    brought = bring(arguments.source, RunStore.from_environment())
    for name in brought.new:
        print(f"brought {name}")
    for name in brought.unfinished:
        print(f"left out {name}: not finished; finish it where it was begun")
    print(f"{counted(len(brought.new), 'unit')} brought, {len(brought.known)} were here")
    if brought.faults:
        told = "; ".join(f"{name}: {fault}" for name, fault in brought.faults.items())
        raise UserError(f"{counted(len(brought.faults), 'unit')} refused: {told}")


def _record(arguments: Arguments) -> None:
    from pipeline import recorded
    from pipeline.joined import joined

    bench, benchmark = _bench(arguments), arguments.benchmark
    if arguments.join:
        recording = joined(benchmark, arguments.join)
    elif arguments.planned is None:
        resolve(load_params(), benchmark)  # `dvc repro` would not help a benchmark that there is not
        recording = recorded.finished_run(
            benchmark, bench.data, bench.store.root, *_circumstances(bench, benchmark)
        )
    else:
        path = planned_file(bench.data, benchmark) if arguments.planned == Path() else arguments.planned
        recording = recorded.part_of_run(read_planned(path, benchmark), bench.store.root)
    print(recorded.record(recording, benchmark, arguments.name))
    if recording.missing:
        print(recorded.incomplete(recording))


def _circumstances(bench: Bench, benchmark: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The machine of the benchmark's last run in this folder and how its tasks were cut, by what it planned.

    Where it left no plan, this machine and nothing.
    """
    path = planned_file(bench.data, benchmark)
    if not path.is_file():
        return describe(bench.machine.numerics()), {}
    try:
        planned = read_planned(path, benchmark)
    except UserError:
        raise UserError(
            f"{path}, which names the machine of the run, is damaged; delete it if that is this machine"
        ) from None
    return planned.machine, planned.data


def _export(arguments: Arguments) -> None:
    restore(DATA, RunStore.from_environment(), needed=False)
    require_whole(arguments.directory)
    try:
        export(arguments.directory, arguments.task, arguments.to)
    except (DamagedFileError, UnknownTaskError) as error:
        raise UserError(str(error)) from error
    print(
        f"{arguments.to}: task {arguments.task}, uint8 images [B, C, H, W] to logits; "
        "torch.export.load(...).module()"
    )


def _ui(arguments: Arguments) -> None:
    uri = tracking.default_uri()
    served = uri.startswith("http")
    if not served:
        pages.require_free(arguments.port)
    links = {
        f"{benchmark}, {shown}": link
        for benchmark in load_params().benchmarks
        for shown, link in tracking.links(uri, benchmark).items()
    }

    def say(server: str) -> None:
        for shown, link in links.items():
            print(f"{shown}: {server}{link}", flush=True)

    if served:
        say("")
    else:
        pages.serve(uri, arguments.port, ready=lambda: say(f"http://{pages.HOST}:{arguments.port}"))


def _track(arguments: Arguments) -> None:
    params, bench = _params(arguments), _bench(arguments)
    for benchmark in params.benchmarks:
        done = tracking.rebuild(bench.store.root, benchmark)
        if (REPORTS / benchmark / SUMMARY).is_file():
            tracking.attach_report(None, benchmark, REPORTS / benchmark)
        print(f"{benchmark}: {counted(done.written, 'run')} written, {done.complete} were complete")


COMMANDS: dict[str, Callable[[Arguments], None]] = {
    "prepare": _prepare,
    "targets": _targets,
    "learn": _learn,
    "tables": _tables,
    "run": _run,
    "sweep": _sweep,
    "plan": _plan,
    "status": _status,
    "verify": _verify,
    "import": _import,
    "record": _record,
    "export": _export,
    "ui": _ui,
    "track": _track,
}


def _proof(report: Report) -> str:
    """What a unit's proof came to, in words."""
    if not report.tasks:
        return "nothing is learned yet"
    probes = "bit-equal" if report.probes_bit_equal else "within tolerance"
    return f"{counted(len(report.tasks), 'task')} unchanged, probe logits {probes}"


def _params(arguments: Arguments) -> Params:
    """params.yaml with the command's changes."""
    options = {"benchmarks": "benchmark", "methods": "method", "seeds": "seed"}
    chosen = []
    for key, option in options.items():
        given = getattr(arguments, option, None)
        if isinstance(given, list):
            chosen.append(list_override(key, given, f"--{option}", arguments.overrides))
        elif given is not None:
            chosen.append(list_override(key, [given], option, arguments.overrides))
    return load_params(PARAMS_FILE, [*arguments.overrides, *chosen])


def _bench(arguments: Arguments) -> Bench:
    """Where and how the command's units run."""
    given = {name: getattr(arguments, name, None) for name in ("executor", "workers")}
    tracking_uri = getattr(arguments, "tracking", None)
    bench = Bench(read_machine(given), RunStore.from_environment(), tracking=tracking_uri)
    learns = arguments.command in LEARNING
    if learns:
        tracking.chosen_place(tracking_uri)
    restore(bench.data, bench.store, needed=learns)
    return bench


def _alone(benchmark: str, bench: Bench) -> AbstractContextManager[None]:
    """Keeps other commands from the stages' files of a benchmark, of which a folder has one set."""
    waiting = f"{benchmark}: another command works on it in this folder; waiting for it"
    return held(bench.data / f".{benchmark}.lock", waiting)


def _prepare_benchmark(params: Params, benchmark: str, bench: Bench) -> None:
    manifest = prepare_stage(benchmark, resolve(params, benchmark).data, bench.prepared(benchmark))
    print(f"prepare {benchmark}: {counted(len(manifest['tasks']), 'task')}", file=sys.stderr)


def _write_tables(benchmark: str, bench: Bench) -> None:
    from pipeline.tables import tables as tables_stage

    folder = tables_stage(benchmark, bench.data, bench.store.root)
    tracking.attach_report(bench.tracking, benchmark, folder)


def _show_tables(benchmarks: list[str]) -> None:
    """Print the summaries that stage tables wrote, and where report and MLflow are; writes nothing."""
    for benchmark in benchmarks:
        path = REPORTS / benchmark / SUMMARY
        if not path.exists():
            raise UserError(f"{path} is not there; run `dvc repro` or `cl-lsg run --benchmark {benchmark}`")
        print(path.read_text())
    print(f"MLflow: {tracking.default_uri()}; its pages: cl-lsg ui")


def _has_pandas() -> bool:
    """Whether tables can be written; if not, says so."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        print("tables: skipped, because pandas is not installed (cl-lsg[pipeline])", file=sys.stderr)
        return False
    return True
