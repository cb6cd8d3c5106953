"""From the options of the command line to a sweep."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from pipeline.errors import UserError
from pipeline.params import load_params
from pipeline.params.experiment import Params
from pipeline.params_file import PARAMS_FILE, list_override, require_once
from pipeline.report import REPORTS
from pipeline.stage import Bench
from pipeline.sweep.settings import Sweep
from pipeline.sweep.space import parse_domains
from pipeline.sweep.sweep import run_sweep
from pipeline.sweep.trials import Study
from pipeline.tracking.tracker import store_uri


def sweep(arguments: argparse.Namespace, bench: Bench, prepare: Callable[[Params], None]) -> None:
    """Prepare the benchmark and run the sweep that the options describe."""
    if not 0 <= arguments.within <= 100:
        raise UserError(f"--within is {arguments.within:g}; allowed: 0 to 100 points")
    space = parse_domains(arguments.param, arguments.search)
    given = arguments.overrides
    for domain in space:
        require_once(domain.key, "--param", given)
    seeds = [list_override("seeds", arguments.seed, "--seed", given)] if arguments.seed else []
    changes = (*given, *seeds)
    chosen = (
        list_override("benchmarks", [arguments.benchmark], "--benchmark", given),
        list_override("methods", [arguments.method], "--method", given),
    )
    study = Study(
        arguments.benchmark, arguments.method, bench, arguments.tasks, PARAMS_FILE.absolute(), changes
    )
    asked = Sweep(
        study, space, arguments.samples, arguments.search, arguments.scheduler, arguments.within / 100
    )
    asked.require_known()
    prepare(load_params(PARAMS_FILE, [*changes, *chosen]))
    run_sweep(asked, store_uri(bench.tracking), REPORTS)
