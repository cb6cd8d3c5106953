"""MLflow's view of a sweep: a parent run, and below it a run for each trial with its values and points.

It stands in an experiment of its own, `<benchmark>-sweeps`, since it shows validation accuracy where a
benchmark's experiment shows test accuracy. Units' directories are the truth, as for every other run; running
the sweep again completes the view.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pipeline.errors import first_line
from pipeline.sweep.choice import Row, choose, rule
from pipeline.sweep.settings import Sweep
from pipeline.sweep.space import as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.tracking.store import Experiment

_LOG = logging.getLogger(__name__)
ENDINGS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


def experiment_name(benchmark: str) -> str:
    """The MLflow experiment of a benchmark's sweeps."""
    return f"{benchmark}-sweeps"


class SweepView:
    """Writes one sweep into the store at `uri`, None for none. A store that fails ends the view alone."""

    def __init__(self, sweep: Sweep, uri: str | None) -> None:
        self._sweep, self._uri = sweep, uri
        self._experiment: Experiment | None = None
        self._parent = ""
        self._runs: dict[int, str] = {}
        self._logged: dict[int, int] = {}

    def __reduce__(self) -> tuple[type[SweepView], tuple[Sweep, str | None]]:
        """Pickled without the connection, which does not outlive its process."""
        return SweepView, (self._sweep, self._uri)

    def show(self, row: Row, over: bool) -> None:
        """Write what the trial gained; when it is over, what it came to."""
        if self._uri is None:
            return
        try:
            self._write(self._connected(), row, over)
        except Exception as error:  # whatever it is: a view must not end the training that it shows
            self._lose(error)

    def close(self, rows: Sequence[Row]) -> None:
        """Complete the runs of all trials and the parent, with the chosen trial."""
        for row in rows:
            self.show(row, over=True)
        if self._uri is None:
            return
        try:
            self._conclude(self._connected(), rows)
        except Exception as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        why = first_line(error)
        _LOG.warning("MLflow's store %s cannot be written (%s); the same sweep completes it", self._uri, why)
        self._uri = None

    def _connected(self) -> Experiment:
        if self._experiment is not None:
            return self._experiment
        from pipeline.tracking.store import Experiment, driver

        assert self._uri is not None
        study, sweep = self._sweep.study, self._sweep
        experiment = Experiment(self._uri, experiment_name(study.benchmark))
        experiment.end_abandoned()
        tags = {"identity": sweep.identity, "driver": driver(), "method": study.method}
        self._parent = self._begin(experiment, f"sweep of {study.method} {sweep.identity[:6]}", tags)
        params = {f"varied.{sweep.names[domain.key]}": domain.text for domain in sweep.space}
        params |= {
            "samples": str(sweep.samples),
            "search": sweep.search,
            "scheduler": sweep.scheduler,
        }
        for name, value in params.items():
            experiment.client.log_param(self._parent, name, value)
        self._experiment = experiment
        return experiment

    def _begin(self, experiment: Experiment, name: str, tags: dict[str, str]) -> str:
        """The run of this identity, made where it lacks, and running."""
        found = experiment.find(tags["identity"])
        run = found or experiment.client.create_run(experiment.id, tags=tags, run_name=name)
        identity = str(run.info.run_id)
        experiment.client.update_run(identity, status="RUNNING")
        experiment.client.set_tag(identity, "driver", tags["driver"])
        return identity

    def _write(self, experiment: Experiment, row: Row, over: bool) -> None:
        number, client = row.trial.number, experiment.client
        if number not in self._runs:
            self._begin_trial(experiment, row)
        run = self._runs[number]
        for point in row.outcome.points[self._logged[number] :]:
            client.log_metric(run, "validation_accuracy", point.validation_accuracy, step=point.learned)
            client.log_metric(run, "size", point.size, step=point.learned)
            client.log_metric(run, "steps", point.steps, step=point.learned)
            self._logged[number] = point.learned
        if over:
            client.set_tag(run, "state", row.outcome.state)
            client.set_tag(run, "units", " ".join(row.outcome.places))
            client.set_terminated(run, ENDINGS[row.outcome.state])

    def _begin_trial(self, experiment: Experiment, row: Row) -> None:
        from pipeline.tracking.store import driver

        sweep, number, client = self._sweep, row.trial.number, experiment.client
        values = {sweep.names[key]: as_text(value) for key, value in row.trial.values.items()}
        tags = {
            "identity": f"{sweep.identity}-{number}",
            "driver": driver(),
            "mlflow.parentRunId": self._parent,
            "method": sweep.study.method,
            "trial": str(number),
        }
        name = ", ".join(f"{name} {value}" for name, value in values.items())
        run = self._begin(experiment, name, tags)
        for name, value in values.items():
            client.log_param(run, name, value)
        history = client.get_metric_history(run, "validation_accuracy")
        self._logged[number] = max((metric.step for metric in history), default=0)
        self._runs[number] = run

    def _conclude(self, experiment: Experiment, rows: Sequence[Row]) -> None:
        client, chosen = experiment.client, choose(rows, self._sweep.within)
        client.log_metric(self._parent, "trials", len(rows))
        client.set_tag(self._parent, "rule", rule(self._sweep.within))
        for number, run in self._runs.items():  # the rule may be another one than before
            client.set_tag(run, "chosen", str(chosen is not None and number == chosen.trial.number).lower())
        if chosen is not None and chosen.last is not None:
            client.log_metric(self._parent, "validation_accuracy", chosen.last.validation_accuracy)
            client.log_metric(self._parent, "size", chosen.last.size)
            client.set_tag(self._parent, "chosen_trial", str(chosen.trial.number))
        client.set_terminated(self._parent, "FINISHED" if chosen else "FAILED")
