"""The view on a real MLflow server: written through HTTP, read by its REST API, killed in between."""

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from pipeline.tracking.tracker import MlflowTracker, attach_report, links, open_tracker, rebuild
from tests.pipeline import made_units as made
from tests.pipeline.tiny_experiment import ROOT

EPOCHS = 400
START_SECONDS = 120
PAGE_MILLISECONDS = 90_000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.slow, pytest.mark.timeout(400)]


class Server:
    """`mlflow server` on a free port of this machine, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        stores = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        places = ["--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command + stores + places,
                env={**os.environ, **quiet},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await()

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def ask(self, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        """The answer of the REST API: a POST with a body, else a GET."""
        address = f"{self.uri}/api/2.0/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def runs(self, method: str = "cl-lsg") -> list[Any]:
        experiment = self.ask("mlflow/experiments/get-by-name", experiment_name=made.BENCHMARK)["experiment"]
        body = {"experiment_ids": [experiment["experiment_id"]], "filter": f"tags.method = '{method}'"}
        return list(self.ask("mlflow/runs/search", body).get("runs", []))

    def history(self, run: Any, metric: str) -> list[tuple[int, float]]:
        answer = self.ask("mlflow/metrics/get-history", run_id=run["info"]["run_id"], metric_key=metric)
        return [(int(point["step"]), point["value"]) for point in answer["metrics"]]

    def _await(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self._log()
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.3)
        raise AssertionError(self._log())

    def _log(self) -> str:
        return (self.folder / "server.log").read_text()[-2000:]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    try:
        started.start()
        yield started
    finally:
        started.kill()


def test_a_server_that_dies_disturbs_nothing_and_is_completed_when_it_is_back(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = tmp_path / "runs"
    directory = made.begin(runs, made.definition("cl-lsg", 1, [1, 2, 3]))
    shown = open_tracker(server.uri, made.BENCHMARK, interval=0)
    assert isinstance(shown, MlflowTracker)
    shown.follow(directory)
    made.learn(directory, 1, [0.9])
    shown.poll()

    (run,) = server.runs()
    assert run["info"]["status"] == "RUNNING"
    assert server.history(run, "task/accuracy") == [(1, 0.9)]

    server.kill()
    made.learn(directory, 2, [0.9, 0.8])
    with caplog.at_level(logging.WARNING, logger="pipeline.tracking.tracker"):
        begun = time.monotonic()
        shown.poll()
        first = time.monotonic() - begun
        begun = time.monotonic()
        for _ in range(100):
            shown.poll()
        assert time.monotonic() - begun < 1
    assert first < 20
    assert len([record for record in caplog.records if record.name == "pipeline.tracking.tracker"]) == 1

    server.start()
    made.learn(directory, 3, [0.9, 0.7, 0.85])
    made.finish(directory)
    shown.close()
    _is_complete(server, run["info"]["run_id"])
    assert rebuild(runs, made.BENCHMARK, server.uri) == (0, 1)
    number = run["info"]["experiment_id"]
    assert links(server.uri, made.BENCHMARK)["charts"] == (
        f"{server.uri}/#/experiments/{number}/runs?compareRunsMode=CHART"
    )


def test_the_pages_of_a_store_in_a_file_answer_by_the_time_their_links_are_printed(tmp_path: Path) -> None:
    port = Server(tmp_path).port
    shutil.copy(ROOT / "params.yaml", tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    made.sequence(tmp_path / "runs", 1, [[0.9]])
    rebuild(tmp_path / "runs", made.BENCHMARK, store)
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "ui", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": store},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as pages:
        assert pages.stdout is not None
        try:
            shown, _, link = pages.stdout.readline().partition(": ")
            assert shown == f"{made.BENCHMARK}, runs"
            with urllib.request.urlopen(link.strip(), timeout=30) as answer:
                assert b"MLflow" in answer.read()
            os.killpg(pages.pid, signal.SIGINT)
            pages.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pages.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)


def test_a_driver_whose_server_was_gone_ends_with_a_complete_view(server: Server, tmp_path: Path) -> None:
    """It is stopped while the server starts, so that there is training left whatever that takes."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    what = ["run", "--benchmark", made.BENCHMARK, "--method", "scratch", "--tasks", "1", "--no-tables"]
    how = ["-S", f"train.epochs={EPOCHS}", "--executor", "local", "--tracking", server.uri]
    own = {"CL_LSG_GPU_SHARE": "0", "PYTHONPATH": str(ROOT)}
    log = tmp_path / "driver.log"
    with log.open("w") as said:
        driver = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *what, *how],
            cwd=tmp_path,
            env={**os.environ, **own},
            stdout=said,
            stderr=said,
        )
    try:
        wait_for(driver, lambda: is_shown(server), log)
        server.kill()
        wait_for(driver, lambda: "training goes on, the view is completed later" in log.read_text(), log)
        learned = epochs(tmp_path)
        wait_for(driver, lambda: epochs(tmp_path) > learned, log)
        driver.send_signal(signal.SIGSTOP)
        learned = epochs(tmp_path)
        server.start()
        driver.send_signal(signal.SIGCONT)
        assert learned < EPOCHS
        assert driver.wait(START_SECONDS) == 0, log.read_text()
    finally:
        driver.kill()
    (run,) = server.runs("scratch")
    assert run["info"]["status"] == "FINISHED"
    assert [epoch for epoch, _ in server.history(run, "train/loss")] == list(range(1, EPOCHS + 1))
    assert len(server.history(run, "task/accuracy")) == 1


def is_shown(server: Server) -> bool:
    """Whether the driver's run is in MLflow, which has no experiment before."""
    try:
        return bool(server.runs("scratch"))
    except urllib.error.HTTPError:
        return False


def epochs(project: Path) -> int:
    """Lines of the only unit's log so far."""
    return sum(path.read_bytes().count(b"\n") for path in project.glob("runs/*/*/*/events.jsonl"))


def wait_for(driver: subprocess.Popen[bytes], condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert driver.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_runs_stand_side_by_side_and_the_report_opens_in_a_browser(server: Server, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made.sequence(runs, 1, [[0.5], [0.5, 0.75]])
    made.sequence(runs, 2, [[0.25], [0.25, 0.5]])
    rebuild(runs, made.BENCHMARK, server.uri)
    report = tmp_path / "report"
    report.mkdir()
    (report / "summary.txt").write_text("a summary")
    (report / "index.html").write_text("<h1>a page</h1>")
    attach_report(server.uri, made.BENCHMARK, report)
    found = links(server.uri, made.BENCHMARK)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1920, "height": 1000})
        page.goto(found["runs"])
        for column in ("final/average", "final/size", "method", "seed"):
            page.get_by_role("columnheader", name=column, exact=True).first.wait_for(
                timeout=PAGE_MILLISECONDS
            )
        rows = page.get_by_role("row").filter(has_text="cl-lsg").all_inner_texts()
        shown = [set(row.split()) for row in rows]
        for accuracy, seed in (("0.625", "1"), ("0.375", "2")):
            assert any({"cl-lsg", seed, accuracy, "0.2"} <= row for row in shown), shown
        page = browser.new_page(viewport={"width": 1920, "height": 1000})
        page.goto(found["charts"])
        for section in ("final", "task", "train"):
            heading = page.get_by_text(re.compile(rf"^{section}\s*\(\d+\)$")).first
            heading.wait_for(timeout=PAGE_MILLISECONDS, state="attached")
        page = browser.new_page()
        page.goto(found["report"])
        frame = page.frame_locator("iframe").get_by_role("heading", name="a page")
        frame.wait_for(timeout=PAGE_MILLISECONDS)
        browser.close()


def _is_complete(server: Server, run_id: str) -> None:
    (run,) = server.runs()
    assert (run["info"]["run_id"], run["info"]["status"]) == (run_id, "FINISHED")
    assert server.history(run, "task/accuracy") == [(1, 0.9), (2, 0.8), (3, 0.85)]
    assert server.history(run, "train/loss") == [(epoch, 1 / epoch) for epoch in range(1, 7)]
    ((_, average),) = server.history(run, "final/average")
    assert average == pytest.approx((0.9 + 0.7 + 0.85) / 3)
    files = server.ask("mlflow/artifacts/list", run_id=run_id)["files"]
    assert [file["path"] for file in files] == [
        f"task_{task:02d}.{kind}" for task in (1, 2, 3) for kind in ("json", "safetensors")
    ]
    query = urllib.parse.urlencode({"run_id": run_id, "path": "task_03.json"})
    with urllib.request.urlopen(f"{server.uri}/get-artifact?{query}", timeout=30) as answer:
        assert json.loads(answer.read())["row"] == {"1": 0.9, "2": 0.7, "3": 0.85}
