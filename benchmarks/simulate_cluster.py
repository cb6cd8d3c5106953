"""How far the fan-out of units goes: a simulation of one driver and N workers with measured unit times.

A stage's units go out longest first to free workers, as `pipeline.execution.board` does. The driver is one
loop that launches units and, about once a second, writes to MLflow for every running unit that finished an
epoch; while it writes it launches nothing. Workers fail at a given rate; their unit goes on, on the next free
worker, at its last checkpoint. A share of the workers is slow. Stage `learn` begins when `targets` has ended.

    python -m benchmarks.simulate_cluster --seeds 100 --workers 1 10 100 1000
"""

from __future__ import annotations

import argparse
import csv
import heapq
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results/cifar100-split/tasks-1-3-seed1-ablation"
BASELINES = ("scratch", "fine-tune")
EPOCHS_A_TASK = 20


@dataclass(frozen=True)
class Work:
    """A unit: seconds of work on a worker, and seconds between two of its epochs."""

    name: str
    seconds: float
    epoch: float


@dataclass(frozen=True)
class Cluster:
    """The machines and the driver.

    failures    of a worker in an hour of work
    checkpoint  seconds between a unit's checkpoints
    restart     seconds that a worker needs before each attempt (process, imports, data)
    slow_share, slow_factor  the first workers of the cluster take this much longer
    launch      seconds of the driver for each attempt (Ray: about 1 ms)
    write       seconds of the driver for each unit with news (MLflow: about 0.011 sqlite, 0.1 a server)
    poll        seconds between two looks for news, at least
    """

    workers: int
    failures: float = 0.0
    checkpoint: float = 20.0
    restart: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    launch: float = 0.0
    write: float = 0.0
    poll: float = 1.0


@dataclass
class Outcome:
    """What a run came to, in seconds. `lost`: work done twice; `driver`: when the driver was busy."""

    seconds: float = 0.0
    worked: float = 0.0
    lost: float = 0.0
    driver: float = 0.0
    failures: int = 0


@dataclass
class _Attempt:
    """A unit on a worker: `left` seconds of work at its start, `factor` times longer on this worker."""

    work: Work
    left: float
    begun: float
    factor: float
    failed_after: float | None
    reported: int = 0

    @property
    def length(self) -> float:
        return self.left * self.factor if self.failed_after is None else self.failed_after

    def epochs(self, now: float, restart: float) -> int:
        """Epochs finished in this attempt until now."""
        trained = min(now - self.begun - restart, self.length)
        return int(max(0.0, trained) / (self.work.epoch * self.factor))


def simulate(stages: Sequence[Sequence[Work]], cluster: Cluster) -> Outcome:
    """Run the stages one after the other."""
    outcome, draw = Outcome(), random.Random(1)
    for units in stages:
        _Stage(units, cluster, outcome, draw).run()
    return outcome


class _Stage:
    def __init__(
        self, units: Iterable[Work], cluster: Cluster, outcome: Outcome, draw: random.Random
    ) -> None:
        self.cluster, self.outcome, self.draw = cluster, outcome, draw
        self.waiting = sorted(((unit, unit.seconds) for unit in units), key=lambda each: -each[1])
        self.free = list(range(cluster.workers))
        self.running: dict[int, _Attempt] = {}
        self.ends: list[tuple[float, int]] = []
        self.now, self.polled = outcome.seconds, outcome.seconds

    def run(self) -> None:
        """The driver's loop: launch, wait for the next end or news, write, settle."""
        while self.waiting or self.running:
            while self.waiting and self.free:
                self._launch()
            self.now = max(self.now, self._next())
            if self.cluster.write and self.now >= self.polled + self.cluster.poll:
                self._write()
            while self.ends and self.ends[0][0] <= self.now:
                self._settle(heapq.heappop(self.ends)[1])
        self.outcome.seconds = self.now

    def _next(self) -> float:
        """When there is something to do: an end, or, where news cost time, the next look for them."""
        end = self.ends[0][0]
        return min(end, self.polled + self.cluster.poll) if self.cluster.write else end

    def _launch(self) -> None:
        self._busy(self.cluster.launch)
        (work, left), worker = self.waiting.pop(0), self.free.pop(0)
        slow = worker < self.cluster.slow_share * self.cluster.workers
        factor = self.cluster.slow_factor if slow else 1.0
        rate = self.cluster.failures / 3600
        fails = self.draw.expovariate(rate) if rate else float("inf")
        failed = fails if fails < left * factor else None
        attempt = _Attempt(work, left, self.now, factor, failed)
        self.running[worker] = attempt
        heapq.heappush(self.ends, (self.now + self.cluster.restart + attempt.length, worker))

    def _settle(self, worker: int) -> None:
        """The worker is free again; a unit that failed goes on later from its last checkpoint."""
        attempt = self.running.pop(worker)
        self.free.append(worker)
        self.outcome.worked += attempt.length
        if attempt.failed_after is not None:
            kept = attempt.failed_after // self.cluster.checkpoint * self.cluster.checkpoint
            self.outcome.lost += attempt.failed_after - kept
            self.outcome.failures += 1
            self.waiting.insert(0, (attempt.work, attempt.left - kept / attempt.factor))

    def _write(self) -> None:
        """One batch for each running unit that finished an epoch since the last look."""
        self.polled = self.now
        news = 0
        for attempt in self.running.values():
            epochs = attempt.epochs(self.now, self.cluster.restart)
            news += epochs > attempt.reported
            attempt.reported = epochs
        self._busy(news * self.cluster.write)

    def _busy(self, seconds: float) -> None:
        self.now += seconds
        self.outcome.driver += seconds


def measured(results: Path = RESULTS, seeds: int = 1, speedup: float = 1.0) -> list[list[Work]]:
    """The stages of a recorded experiment, each unit once a seed, on machines so many times faster."""
    seconds: dict[str, dict[int, float]] = {}
    with (results / "cost.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            seconds.setdefault(row["unit"], {})[int(row["task"])] = float(row["seconds"]) / speedup
    stages: list[list[Work]] = [[], []]
    for unit, by_task in seconds.items():
        total = sum(by_task.values())
        work = Work(unit, total, total / len(by_task) / EPOCHS_A_TASK)
        stages[unit.split("/")[1] not in BASELINES] += [work] * seeds
    return stages


def table(stages: Sequence[Sequence[Work]], clusters: Iterable[Cluster]) -> str:
    """A Markdown row a cluster: hours, speedup over the work itself, and what held it up."""
    total = sum(unit.seconds for units in stages for unit in units)
    longest = sum(max((unit.seconds for unit in units), default=0.0) for units in stages)
    lines = [
        f"{sum(map(len, stages))} units, {total / 3600:.1f} hours of work, "
        f"{longest / 3600:.2f} hours at least (the longest unit of each stage)",
        "",
        "| workers | hours | speedup | workers busy | driver busy | failures | work done twice |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for cluster in clusters:
        done = simulate(stages, cluster)
        lines.append(
            f"| {cluster.workers:,} | {done.seconds / 3600:.2f} | {total / done.seconds:.1f} | "
            f"{done.worked / done.seconds / cluster.workers:.0%} | {done.driver / done.seconds:.1%} | "
            f"{done.failures} | {done.lost / total:.2%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table for the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--results", type=Path, default=RESULTS, help="folder of a recorded experiment")
    add("--seeds", type=int, default=100, help="times that every recorded unit is run")
    add("--speedup", type=float, default=1.0, help="how much faster a worker is than the recorded one")
    add("--workers", type=int, nargs="+", default=[1, 10, 100, 300, 1000])
    add("--failures", type=float, default=0.0, help="of a worker in an hour")
    add("--checkpoint", type=float, default=20.0, help="seconds")
    add("--restart", type=float, default=5.0, help="seconds before each attempt")
    add("--slow-share", type=float, default=0.0)
    add("--slow-factor", type=float, default=1.0)
    add("--launch", type=float, default=0.001, help="seconds of the driver a launch")
    add(
        "--write", type=float, default=0.011, help="seconds of the driver for a unit with news; 0 = untracked"
    )
    options = vars(parser.parse_args())
    stages = measured(options.pop("results"), options.pop("seeds"), options.pop("speedup"))
    workers = options.pop("workers")
    print(table(stages, [Cluster(workers=count, **options) for count in workers]))


if __name__ == "__main__":
    main()
