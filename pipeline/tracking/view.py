"""One MLflow run as a view of the units of one method and seed.

Files are the truth. A view compares them, when it begins, with what the store has, and writes what is
missing; where the store holds a point with another value the whole run is written anew.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, RunTag

from lsg.records import EVENTS, RESULT
from pipeline.tracking.points import (
    Point,
    differs,
    epoch_points,
    epochs_before,
    final_points,
    parameters,
    record_points,
    size_points,
)
from pipeline.tracking.store import Experiment, driver, held_by_another
from pipeline.units.histories import history
from pipeline.units.records import DEFINITION, UnitDirectory
from pipeline.units.run_sets import Member, Members
from pipeline.units.tail import Tail

_BATCH = 1000  # most metrics that one log_batch takes
_DIGEST = 36  # most characters of a data set's digest

_Timed = tuple[Point, int]  # a point and its time in milliseconds


class RunView:
    """The run of one method and seed, fed by one unit, or by one unit a task."""

    def __init__(self, experiment: Experiment, members: Members, member: Member) -> None:
        self._experiment = experiment
        self._client = experiment.client
        self._members = members
        self._member = member
        self.wrote = False
        self._restart()

    def _restart(self) -> None:
        """Forgets what the store holds; the next update asks it."""
        self._run_id = ""
        self._ended = False
        self._units: list[UnitDirectory] = []
        self._tails: dict[Path, Tail] = {}
        self._logged: dict[tuple[str, int], float] = {}
        self._uploaded: set[Path] = set()
        self._learned = 0

    def update(self, closing: bool = False) -> None:
        """Writes what the units gained since the last call; ends the run once it is over.

        More tasks may join a run of one unit a task, so that kind is over only when `closing`.
        """
        if self._ended:
            return
        joined = self._join()
        if not (self._run_id or self._begin()):
            return
        if joined:
            self._describe()
        over = all(unit.finished for unit in self._units) and (closing or not self._member.unit.alone)
        points = {(point.metric, point.step): (point, time) for point, time in self._points(over)}
        if self._contradicted(points):
            self._client.delete_run(self._run_id)
            self._restart()
            self.update(closing)
            return
        self._log(points)
        self._upload()
        if over:
            self._finish()

    def close(self, failed: Collection[Path]) -> None:
        """Ends the run as what became of its units."""
        self.update(closing=True)
        self._stop("FAILED" if any(unit.path in failed for unit in self._units) else "KILLED")

    def give_up(self) -> None:
        """Ends the run as failed without reading its units again, one of which is damaged."""
        self._stop("FAILED")
        self._ended = True

    def _stop(self, status: str) -> None:
        if self._run_id and not self._ended:
            self._client.set_terminated(self._run_id, status)
            self._ended = True

    def _join(self) -> bool:
        """Takes in units that have come to exist; True if there are any."""
        before, self._units = self._units, self._members.of_run(self._member)
        self._tails = {
            unit.path: self._tails.get(unit.path) or Tail(unit.path / EVENTS) for unit in self._units
        }
        return self._units != before

    def _begin(self) -> bool:
        """Finds or makes the run; False when it is complete already or another driver writes it."""
        run = self._experiment.find(self._member.run)
        if run and run.info.status == "FINISHED" and run.data.tags.get("content") == self._content():
            self._ended = True
            return False
        if run and held_by_another(run):
            return False
        if run:
            self._continue(run)
        self._run_id = run.info.run_id if run else self._create()
        self.wrote = True
        return True

    def _create(self) -> str:
        definition = self._member.unit.definition
        run = self._client.create_run(
            self._experiment.id,
            start_time=min(_milliseconds(unit.path / DEFINITION) for unit in self._units),
            tags={"identity": self._member.run, "driver": driver()},
            run_name=f"{definition.method} seed {definition.seed}",
        )
        return str(run.info.run_id)

    def _continue(self, run: Run) -> None:
        for metric in run.data.metrics:
            for point in self._client.get_metric_history(run.info.run_id, metric):
                self._logged[point.key, point.step] = point.value
        self._client.update_run(run.info.run_id, status="RUNNING")

    def _describe(self) -> None:
        """Writes the run's parameters, tags and data set; writing them again changes nothing."""
        definition = self._member.unit.definition
        tags = {
            "benchmark": definition.benchmark,
            "method": definition.method,
            "protocol": definition.protocol,
            "seed": str(definition.seed),
            "code": definition.code,
            "data": ",".join(unit.definition.data for unit in self._units),
            "unit": ",".join(unit.key for unit in self._units),
            "directories": ",".join(unit.name for unit in self._units),
            "driver": driver(),
        }
        self._client.log_batch(
            self._run_id,
            params=[Param(name, value) for name, value in parameters(self._member.unit).items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        self._client.log_inputs(self._run_id, [DatasetInput(_data_set(self._member))])

    def _points(self, over: bool) -> Iterator[_Timed]:
        """What the files gained since the last call; when the run is `over`, its totals too."""
        for unit in self._units:
            for event in self._tails[unit.path].read():
                if event.get("event") == "epoch":
                    yield from _timed(epoch_points(event, epochs_before(unit)), unit.path / EVENTS)
        learned = sum(len(unit.learned()) for unit in self._units)
        if over or learned != self._learned:
            self._learned = learned
            yield from self._task_points(over)

    def _task_points(self, over: bool) -> Iterator[_Timed]:
        for unit in self._units:
            for task in unit.learned():
                yield from _timed(record_points(unit.record(task)), unit.file(task, "json"))
        steps = history(self._units)
        for step in steps:
            path = step.unit.file(step.record.task, "json")
            yield from _timed((*record_points(step.record), *size_points(step)), path)
        if over and steps:  # none where the unit of the first task is gone
            yield from _timed(final_points(steps), self._units[-1].path / RESULT)

    def _contradicted(self, points: dict[tuple[str, int], _Timed]) -> bool:
        """True when the store holds one of the points with another value."""
        return any(
            differs(self._logged[key], point.value)
            for key, (point, _) in points.items()
            if key in self._logged
        )

    def _log(self, points: dict[tuple[str, int], _Timed]) -> None:
        fresh = [
            Metric(point.metric, point.value, time, point.step)
            for key, (point, time) in points.items()
            if key not in self._logged
        ]
        for start in range(0, len(fresh), _BATCH):
            self._client.log_batch(self._run_id, metrics=fresh[start : start + _BATCH])
        self._logged |= {(metric.key, metric.step): metric.value for metric in fresh}

    def _upload(self) -> None:
        """Sends the records and the tensors of tasks learned since the last call."""
        for unit in self._units:
            for task in unit.learned():
                for path in (unit.file(task, "safetensors"), unit.file(task, "json")):
                    if path not in self._uploaded:
                        self._client.log_artifact(self._run_id, str(path))
                        self._uploaded.add(path)

    def _finish(self) -> None:
        ended = max(_milliseconds(unit.path / RESULT) for unit in self._units)
        self._client.set_tag(self._run_id, "content", self._content())
        self._client.set_terminated(self._run_id, "FINISHED", ended)
        self._ended = True

    def _content(self) -> str:
        """Digest of every record and result that feeds this run."""
        digest = hashlib.sha256()
        for unit in self._units:
            for file in (*(unit.file(task, "json") for task in unit.learned()), unit.path / RESULT):
                if file.is_file():
                    digest.update(f"{unit.name}/{file.name}\0".encode() + file.read_bytes())
        return digest.hexdigest()


def _data_set(member: Member) -> Dataset:
    """The prepared benchmark that the run learned from, as MLflow names a data set."""
    benchmark = member.unit.definition.benchmark
    source = json.dumps({"uri": f"data/tasks/{benchmark}"})
    return Dataset(name=benchmark, digest=member.version[:_DIGEST], source_type="local", source=source)


def _timed(points: Iterable[Point], source: Path) -> Iterator[_Timed]:
    """Each point with the time at which its file was last written."""
    time = _milliseconds(source)
    return ((point, time) for point in points)


def _milliseconds(path: Path) -> int:
    return int(path.stat().st_mtime * 1000)
