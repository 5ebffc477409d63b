"""A throwaway TorchServe with the shipped settings, for the tests and benchmarks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import psutil

CONFIG = Path(__file__).parents[1] / "deploy/config.properties"
TORCHSERVE = str(Path(sys.executable).with_name("torchserve"))
# As in the Dockerfile.
START = ["--start", "--foreground", "--ncs", "--ts-config", "config.properties", "--model-store", "model-store"]
# Proxies of the environment could not reach this machine.
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


class LocalServer:
    """A context manager that runs one TorchServe on free ports, in a temporary folder, and stops all of it.

    archive: the .mar to serve. overrides: keys of config.properties to set otherwise.
    """

    def __init__(self, archive: Path, overrides: dict[str, object] | None = None):
        ports = free_ports(5)
        self.url, self.management_url = (f"http://127.0.0.1:{port}" for port in ports[:2])
        # A short path, because worker sockets are made in it and their names are limited to 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ts", dir="/tmp" if os.name == "posix" else None))
        self.log = self.folder / "log.txt"
        settings = read_properties(CONFIG) | {
            "inference_address": self.url,
            "management_address": self.management_url,
            "metrics_address": f"http://127.0.0.1:{ports[2]}",
            "grpc_inference_port": ports[3],
            "grpc_management_port": ports[4],
            **(overrides or {}),
        }
        lines = (f"{key}={value}\n" for key, value in settings.items())
        (self.folder / "config.properties").write_text("".join(lines))
        (self.folder / "model-store").mkdir()
        shutil.copy(archive, self.folder / "model-store/cloth_seg.mar")
        own = {name: str(self.folder) for name in ("TMPDIR", "TEMP", "LOG_LOCATION", "METRICS_LOCATION")}
        self.environment = os.environ | own

    def __enter__(self) -> "LocalServer":
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [TORCHSERVE, *START], cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *_) -> None:
        # Stopping the launcher alone would leave Java and its workers running.
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        subprocess.run([TORCHSERVE, "--stop", "--foreground"], env=self.environment, capture_output=True)
        _, left = psutil.wait_procs(family, timeout=20)
        for process in left:
            process.kill()
        self.process.wait(20)
        shutil.rmtree(self.folder)
        if left:
            raise RuntimeError(f"{len(left)} processes of TorchServe had to be killed")

    def request(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """GET, or POST where there is a body; an error status is an answer like any other."""
        request = urllib.request.Request(self.url + path, body, headers or {})
        try:
            with OPEN(request, timeout=120) as reply:
                return Answer(reply.status, reply.headers.get("content-type", ""), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers.get("content-type", ""), error.read())

    def predict(self, body: bytes, content_type: str = "image/png", **headers: str) -> Answer:
        return self.request("/predictions/cloth_seg", body, {"Content-Type": content_type, **headers})

    def workers(self) -> list[dict]:
        """What the management interface says of the workers: id, pid, status, ..."""
        with OPEN(f"{self.management_url}/models/cloth_seg", timeout=10) as reply:
            return json.load(reply)[0]["workers"]

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Return when every worker has loaded the network. Raises RuntimeError with the end of the log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                workers = self.workers()
            except OSError:
                workers = []
            if workers and all(worker["status"] == "READY" for worker in workers):
                return
            time.sleep(0.2)
        raise RuntimeError(f"TorchServe did not come up:\n{self.log.read_text(errors='replace')[-3000:]}")


def free_ports(count: int) -> list[int]:
    """Ports that are free now, held together so that they differ."""
    with ExitStack() as together:
        sockets = [together.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def read_properties(path: Path) -> dict[str, str]:
    """Keys and values of a Java properties file with one setting a line."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
