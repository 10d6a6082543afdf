"""Processes of peers on the core of the servers, and JSON over HTTP to them outside of any measurement."""

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.machine import SERVER_CORE
from benchmarks.peers.setup import Missing

_PATIENCE_S: Final = 60.0
_LAST_WORDS: Final = 300


class Process:
    """A program pinned to the core of the servers; what it writes goes to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        user: str | None = None,
        stop_with: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._stop_with = stop_with
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CORE), *command],
                stdout=output,
                stderr=output,
                user=user,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, answers: Callable[[], object]) -> None:
        """Until the call raises nothing. Raises Missing, with the last words of the process, when it never does."""
        end = time.perf_counter() + _PATIENCE_S
        while time.perf_counter() < end and self._process.poll() is None:
            with suppress(OSError, http.client.HTTPException, RuntimeError):
                answers()
                return
            time.sleep(0.02)
        words = " ".join(self._log.read_text(errors="replace").split())[-_LAST_WORDS:]
        self.stop()
        raise Missing(f"it does not start: {words}")

    def stop(self) -> None:
        """End it and wait for its end."""
        if self._process.poll() is None:
            self._process.send_signal(self._stop_with)
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def run(command: Sequence[str], *, user: str | None = None, environment: Mapping[str, str] | None = None) -> None:
    """A step that must succeed. Raises Missing with its last words."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        user=user,
        cwd="/",
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())[-_LAST_WORDS:]
        raise Missing(f"{Path(command[0]).name} failed: {words}")


class Json:
    """JSON over one kept connection."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Any:
        """The parsed answer, or a list of the lines of a stream. Raises RuntimeError for a refusal."""
        return self._ask("POST", path, json.dumps(body), headers)

    def get(self, path: str) -> Any:
        """The parsed answer. Raises RuntimeError for a refusal."""
        return self._ask("GET", path, None)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str] | None = None) -> Any:
        every = {**self._headers, **(headers or {})}
        try:
            status, text = self._exchange(method, path, body, every)
        except http.client.RemoteDisconnected:  # an idle connection that the server has closed
            status, text = self._exchange(method, path, body, every)
        if status not in {200, 201}:
            raise RuntimeError(f"{method} {path}: {status} {text[:_LAST_WORDS]}")
        if "\n{" in text.strip():
            return [json.loads(line) for line in text.splitlines() if line]
        return json.loads(text or "null")

    def _exchange(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, str]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)
        try:
            self._connection.request(method, path, body, dict(headers))
            response = self._connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            self.close()
            raise


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its descendants, those included that have ended and been waited for."""
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def proportional_mb(pid: int) -> float:
    """Memory of a process and its descendants, each shared page counted once in all."""
    total = 0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def generator_time() -> Iterator[Callable[[], float]]:
    """CPU seconds of the children that ended since the block began."""
    before = _children_s()
    yield lambda: _children_s() - before


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
