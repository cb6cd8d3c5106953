"""MLflow's pages of a store in a file, which has no server yet, served on this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

from pipeline.errors import UserError

HOST = "127.0.0.1"


def serve(uri: str, port: int, ready: Callable[[], None]) -> None:
    """Serves the pages until they are interrupted. Calls `ready` once they answer.

    Raises UserError where MLflow's server ends with a fault. It does not where the port is taken: see
    `require_free`.
    """
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--workers", "1"]
    place = ["--host", HOST, "--port", str(port)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # What the server says goes to standard error: standard output has the links alone.
    with subprocess.Popen([*command, *place], env=environment, stdout=sys.stderr) as server:
        try:
            while server.poll() is None and not _answers(port):
                time.sleep(0.2)
            if server.poll() is None:
                ready()
            if server.wait():
                raise UserError(f"MLflow's pages could not be served on port {port}; try --port")
        finally:
            server.terminate()


def require_free(port: int) -> None:
    """Raise UserError where the port is taken: MLflow's server would say so in its log alone and end well."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port} cannot be had ({error.strerror}); give another --port") from error


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
            return True
    except OSError:
        return False
