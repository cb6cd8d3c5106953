"""compose.yaml's cluster, without Docker: its commands on this machine, with two Ray nodes, and MLflow with a
login on a real PostgreSQL. Its GPUs would be declared resources here, so it trains on the CPU.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.execution.executors import run
from pipeline.execution.machine import Machine
from pipeline.units.plan import Plan
from pipeline.units.store import RunStore
from tests.pipeline.tiny_experiment import BENCHMARK, ROOT, Notes, contents, tiny_plan

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SECRETS = {
    "RAY_AUTH_TOKEN": "a" * 64,
    "POSTGRES_PASSWORD": "postgres's secret",
    "MLFLOW_PASSWORD": "a person's secret",
    "MLFLOW_SECRET": "the server's secret",
}
EPOCHS = 25
WAIT_SECONDS = 240

pytestmark = pytest.mark.xdist_group("processes")


def test_nothing_is_published_but_on_loopback_and_no_secret_is_written_down() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:5000:5000"]
    for service in SERVICES.values():
        secret = {name: value for name, value in service.get("environment", {}).items() if "PASSW" in name}
        secret |= {name: value for name, value in service["environment"].items() if "TOKEN" in name}
        for value in secret.values():
            assert re.fullmatch(r"\$\{\w+:\?see docs/cluster.md\}", value), "without .env nothing may start"
    for name in ("head", "worker"):
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
    assert "--app-name=basic-auth" in SERVICES["mlflow"]["command"]


def test_every_volume_of_the_image_is_a_folder_that_its_user_may_write() -> None:
    (made,) = re.findall(r"^RUN mkdir -p (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    services = [service for service in SERVICES.values() if service["image"] == "cl-lsg"]
    mounted = {volume.split(":")[1] for service in services for volume in service["volumes"]}
    assert mounted == {f"/cl-lsg/{name}" for name in made.split()}
    assert {volume.split(":")[0] for s in SERVICES.values() for volume in s["volumes"]} == {
        *COMPOSE["volumes"]
    }


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Here:
    """The services of compose.yaml as processes of this machine: other ports, folders and names of hosts."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=lambda: {n: free_port() for n in ("5000", "5432", "6379")})

    def said(self, text: str) -> str:
        """A text of compose.yaml as it reads here."""
        for name, value in SECRETS.items():
            text = text.replace(f"${{{name}:?see docs/cluster.md}}", value)
        text = re.sub(r"\b(head|mlflow|postgres|localhost|127\.0\.0\.1):(\d{4})\b", self._address, text)
        text = re.sub(r"--port=(\d+)", lambda found: f"--port={self.ports[found[1]]}", text)
        text = text.replace("--host=0.0.0.0", "--host=127.0.0.1").replace("/cl-lsg/", f"{self.folder}/")
        text = text.replace("/mlflow-auth.ini", f"{self.folder}/mlflow-auth.ini")
        return re.sub(r"^\.venv/bin", str(Path(sys.executable).parent), text)

    def environment(self, service: str) -> dict[str, str]:
        own = SERVICES[service].get("environment", {})
        return {**os.environ, **{name: self.said(value) for name, value in own.items()}}

    def start(self, service: str, *more: str, name: str) -> None:
        command = [self.said(word) for word in SERVICES[service]["command"]]
        self.spawn(name, [*command, *more], self.environment(service))

    def spawn(self, name: str, command: list[str], environment: Mapping[str, str], **options: Any) -> None:
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True, **options
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def stop(self, name: str, sign: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        process.wait(60)

    def wait_for(self, name: str, condition: Callable[[], bool]) -> None:
        """Wait until the process called `name` has got that far."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert self.processes[name].poll() is None, self.log(name).read_text()[-3000:]
            assert time.monotonic() < deadline, self.log(name).read_text()[-3000:]
            time.sleep(0.1)

    def _address(self, found: re.Match[str]) -> str:
        return f"127.0.0.1:{self.ports[found[2]]}"


def start_postgres(here: Here, folder: Path) -> None:
    """PostgreSQL from Debian's package, with the user, database and password of compose.yaml.

    It refuses to run as root, so root lends it a user.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs = found[-1] if found else Path(str(shutil.which("postgres"))).parent
    user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    password = folder / "password"
    password.write_text(SECRETS["POSTGRES_PASSWORD"])
    password.chmod(0o644)
    plain = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    init = ["initdb", "--username=mlflow", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"]
    subprocess.run(
        [*user, str(programs / init[0]), *init[1:], f"--pgdata={folder}/data"],
        env=plain, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    port = str(here.ports["5432"])
    place = ["-D", f"{folder}/data", "-p", port, "-c", "listen_addresses=127.0.0.1", "-k", str(folder)]
    here.spawn("postgres", [*user, str(programs / "postgres"), *place], plain, cwd=folder)
    ready = [str(programs / "pg_isready"), "--host=127.0.0.1", f"--port={port}"]
    here.wait_for("postgres", lambda: subprocess.run(ready, check=False, capture_output=True).returncode == 0)
    with_password = {**plain, "PGPASSWORD": SECRETS["POSTGRES_PASSWORD"]}
    create = ["createdb", "--host=127.0.0.1", f"--port={port}", "--username=mlflow", "mlflow"]
    subprocess.run([str(programs / create[0]), *create[1:]], env=with_password, check=True)


def start_mlflow(here: Here) -> None:
    here.start("mlflow", name="mlflow")
    here.wait_for("mlflow", lambda: status(f"http://127.0.0.1:{here.ports['5000']}/health") == 200)


def start_ray(here: Here, service: str, name: str, *options: str) -> None:
    """A node of Ray. It gives up where its start takes half a minute, and compose.yaml starts it again."""
    for _ in range(4):
        here.start(service, "--node-ip-address=127.0.0.1", *options, name=name)
        process, log = here.processes[name], here.log(name)
        while process.poll() is None and "Ray runtime started" not in log.read_text():
            time.sleep(0.2)
        if process.poll() is None:
            return
    raise AssertionError(log.read_text()[-3000:])


def status(address: str) -> int:
    """The HTTP status of a GET; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    """PostgreSQL and MLflow, a Ray head without CPUs and two workers with one each."""
    services = Here(tmp_path)
    (tmp_path / "mlflow-auth.ini").write_text(services.said(COMPOSE["configs"]["mlflow-auth"]["content"]))
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="p") as database,
        tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as ray,
    ):
        try:
            start_postgres(services, Path(database))
            start_mlflow(services)
            start_ray(services, "head", "head", f"--temp-dir={ray}")
            for name in ("worker1", "worker2"):
                start_ray(services, "worker", name, "--num-cpus=1")
            yield services
        finally:
            for name in reversed([*services.processes]):
                services.stop(name, signal.SIGINT if name == "postgres" else signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_cluster_learns_the_same_bytes_and_mlflow_that_was_gone_shows_them_all(
    here: Here, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    ours = {"CL_LSG_CHECKPOINT_SECONDS": "0", "CL_LSG_GPU_SHARE": "0", "PYTHONPATH": str(ROOT)}
    environment = {**here.environment("head"), **ours}
    what = ["run", "--benchmark", BENCHMARK, "--method", "scratch", "--tasks", "2", "--no-tables"]
    command = [sys.executable, "-m", "pipeline", *what, "-S", f"train.epochs={EPOCHS}"]

    stranger = {**environment, "RAY_AUTH_TOKEN": "b" * 64}
    refused = subprocess.run(command, cwd=tmp_path, env=stranger, capture_output=True, text=True, check=False)
    assert refused.returncode == 2, refused.stderr
    assert f"no Ray cluster at 127.0.0.1:{here.ports['6379']}" in refused.stderr

    plan = tiny_plan("methods=[scratch]", f"train.epochs={EPOCHS}")
    numbers = Machine(gpu_share=0).numerics()
    units = Plan(plan.experiment, plan.manifest, plan.prepared, numbers, first=2).units("targets")
    store = RunStore(tmp_path / "runs")
    logs = [store.directory(unit) / "events.jsonl" for unit in units]
    here.spawn("driver", command, environment, cwd=tmp_path)
    here.wait_for("driver", lambda: all(log.exists() and log.stat().st_size for log in logs))
    here.stop("mlflow", signal.SIGKILL)
    driver = here.processes.pop("driver")
    assert driver.wait(WAIT_SECONDS) == 0, here.log("driver").read_text()
    assert "training goes on, the view is completed later" in here.log("driver").read_text()

    here_alone = RunStore(tmp_path / "undisturbed")
    run(units, here_alone, Machine(executor="local", gpu_share=0), Notes())
    for unit in units:
        assert contents(store.directory(unit)) == contents(here_alone.directory(unit))

    start_mlflow(here)
    server = f"http://127.0.0.1:{here.ports['5000']}"
    assert status(f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name={BENCHMARK}") == 401
    track = [sys.executable, "-m", "pipeline", "track", "--rebuild", "--benchmark", BENCHMARK]
    done = subprocess.run(track, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        [sys.executable, "-c", SHOWN, server], env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["FINISHED", "2", "task_01.json"]


SHOWN = f"""
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
(run,) = client.search_runs([client.get_experiment_by_name("{BENCHMARK}").experiment_id])
files = [file.path for file in client.list_artifacts(run.info.run_id)]
print(run.info.status, len(client.get_metric_history(run.info.run_id, "task/accuracy")))
print([file for file in files if file.endswith("json")][0])
"""
