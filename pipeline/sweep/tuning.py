"""Ray Tune around the units: it draws values, runs trials side by side, and stops those that fall behind.

A trial is nothing but its units. Tune keeps which values it drew and what it heard; what was learned lies in
the units' directories, so a trial that dies, or is begun again, goes on where its units stand.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import UserError, first_line
from pipeline.execution.on_ray import CRASHES, cluster, room
from pipeline.execution.shared_tasks import SharedTasks, Shelf, data_bytes
from pipeline.stage import work
from pipeline.sweep.settings import Sweep
from pipeline.sweep.space import Values
from pipeline.sweep.states import STATES, remove_torn
from pipeline.sweep.trials import Outcome, Study, Trial, outcome
from pipeline.units.records import damage_named
from pipeline.units.store import run_unit

os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # units' paths may be relative to the project
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # no files of Tune's own beside the units
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends a sweep as it ends a stage
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

_LOG = logging.getLogger(__name__)
ACCURACY, LEARNED = "validation_accuracy", "training_iteration"
REDUCTION = 3
"""ASHA lets the best third go on, at 1, 3, 9, ... learned tasks."""


class Listener(Protocol):
    """Hears how trials come on, in the process that runs the sweep; has to survive being pickled."""

    def heard(self, trial: Trial, reached: Outcome, over: bool) -> None: ...


def run_trials(sweep: Sweep, listener: Listener) -> None:
    """Run the sweep's trials, or the rest of them.

    The baselines that give the goals are learned first. Raises UserError for a machine that cannot run them,
    and UnitsFailed when a baseline fails; a trial that fails does not stop the others.
    """
    study, machine = sweep.study, sweep.study.bench.machine
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    first = study.plan(sweep.first_values())
    needed, known = study.needed(first), study.units_known(first)
    with cluster(machine, data_bytes([*needed, *known])):
        workers, share = room(machine, sweep.count)
        if needed:
            work("targets", study.benchmark, needed, study.bench, split="validation")
        resources = {"cpu": machine.threads, "gpu": share}
        with damage_named():
            tasks = Shelf().tasks(first.prepared, first.tasks)
        learner = tune.with_parameters(learn_trial, sweep=sweep, tasks=tasks)
        trainable = tune.with_resources(learner, resources)
        _tuner(sweep, listener, trainable, workers).fit()


def learn_trial(config: dict[str, Any], sweep: Sweep, tasks: SharedTasks) -> None:
    """What a worker does for a trial: learn its units from the tasks and report every learned task.

    A fault of a unit is left in its directory too; only a disk that fails or a worker that dies is tried
    again.
    """
    values = sweep.values(config)
    try:
        _learn(sweep.study, values, tasks)
    except OSError:
        raise
    except Exception as error:  # trying again would not help
        _LOG.warning("the trial with %s ended: %s", values, first_line(error))


def _learn(study: Study, values: Values, source: SharedTasks) -> None:
    store, seconds = study.bench.store, study.bench.machine.checkpoint_seconds
    plan = study.plan(values)
    for unit in study.needed(plan):
        run_unit(unit, store, lambda event: None, seconds, source)
    units = study.units(plan)
    told, tasks = 0, sum(len(unit.tasks) for unit in units)

    def tell(_event: Mapping[str, Any]) -> None:
        """Report what was learned since the last call. Tune may end the trial here, between two steps.

        The last task is reported once its unit is finished, since Tune then ends the trial for certain.
        """
        nonlocal told
        if sum(len(list(store.directory(unit).glob("task_*.json"))) for unit in units) > told:
            reached = outcome(units, study.bench)
            ready = reached.points if reached.finished else reached.points[: tasks - 1]
            for point in ready[told:]:
                told = point.learned
                tune.report({ACCURACY: point.validation_accuracy, "size": point.size})

    for unit in units:
        tell({})
        run_unit(unit, store, tell, seconds, source)
    tell({})


def _tuner(sweep: Sweep, listener: Listener, trainable: Any, workers: int) -> tune.Tuner:
    """Tune's state of the same sweep, to go on with, or a new one."""
    folder = sweep.folder
    remove_torn(folder)
    if tune.Tuner.can_restore(str(folder)) and any(folder.glob(STATES)):
        return _restored(folder, trainable)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return tune.Tuner(
        trainable,
        param_space={domain.key: domain.drawn() for domain in sweep.space},
        tune_config=tune.TuneConfig(
            metric=ACCURACY,
            mode="max",
            num_samples=sweep.samples,
            scheduler=_scheduler(sweep),
            trial_dirname_creator=_directory_name,
            reuse_actors=True,
            **_search(sweep, workers),
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=tune.FailureConfig(max_failures=CRASHES),
            callbacks=[_Relay(sweep, listener)],
            verbose=0,
        ),
    )


def _restored(folder: Path, trainable: Any) -> tune.Tuner:
    try:
        return tune.Tuner.restore(
            str(folder), trainable=trainable, resume_unfinished=True, restart_errored=True
        )
    except Exception as error:  # whatever an unpickled file of another version raises
        raise UserError(
            f"{folder} cannot be read ({first_line(error)}); delete it: what its trials learned is kept"
        ) from error


def _scheduler(sweep: Sweep) -> Any:
    if sweep.scheduler == "fifo":
        return FIFOScheduler()
    return _Asha(sweep)


class _Asha(ASHAScheduler):
    """Compares with trials before a kill too: Tune keeps no scheduler, but units keep what they reached.

    A trial that had not ended reports its tasks again.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(max_t=sweep.tasks_a_trial, grace_period=1, reduction_factor=REDUCTION)
        self._sweep = sweep

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, trial)
        ended = trial.status == TuneTrial.TERMINATED
        for point in self._sweep.trial(trial.config).outcome().points if ended else ():
            reported = {LEARNED: point.learned, ACCURACY: point.validation_accuracy}
            self.on_trial_result(tune_controller, trial, reported)


def _search(sweep: Sweep, workers: int) -> dict[str, Any]:
    """How values are drawn: the same ones every time that the search does not depend on results."""
    if sweep.search == "random":
        return {"search_alg": BasicVariantGenerator(max_concurrent=workers, random_state=sweep.draws)}
    from optuna.logging import WARNING, set_verbosity
    from ray.tune.search.optuna import OptunaSearch

    set_verbosity(WARNING)
    return {"search_alg": OptunaSearch(seed=sweep.draws), "max_concurrent_trials": workers}


def _directory_name(trial: Any) -> str:
    return f"trial-{trial.trial_id}"


class _Relay(tune.Callback):
    """Hands on to the listener what Tune hears of its trials."""

    def __init__(self, sweep: Sweep, listener: Listener) -> None:
        self._sweep, self._listener = sweep, listener

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._tell(trial, over=False)

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self._tell(trial, over=True)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self._tell(trial, over=True)

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self._tell(trial, over=False)

    def _tell(self, trial: Any, over: bool) -> None:
        told = self._sweep.trial(trial.config)
        self._listener.heard(told, told.outcome(), over)
