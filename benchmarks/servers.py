"""Server processes pinned to their core, and wrk on the other one."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.books import Book
from benchmarks.machine import CLIENT_CORE, SERVER_CORE, cpu_seconds
from benchmarks.measuring import ENOUGH_FOR_P99

_ROOT: Final = Path(__file__).resolve().parent.parent
_SCRIPT: Final = Path(__file__).with_name("wrk.lua")
_ONCE: Final = Path(__file__).parent / "peers" / "once.py"
_PATIENCE_S: Final = 60.0
_PIN: Final = "import os; os.sched_setaffinity(0, [{core}]); "
_HELLO: Final = (
    _PIN + "import uvicorn; uvicorn.run('benchmarks.hello:app', port={port}, log_level='warning', access_log=False,"
    " server_header=False)"
)
_GRANTBOOK: Final = (
    _PIN + "from grantbook.serve import serve; from grantbook.settings import Settings; serve(Settings(**{settings!r}))"
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `body` is JSON text, empty for none."""

    method: str
    path: str
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk saw, and what the server used for it. Requests cut off at the end cost CPU but do not count.

    A 99th percentile of fewer than a hundred answers would be their maximum, so there is none.
    """

    requests: int
    per_s: float
    per_cpu_s: float
    p50_ms: float
    p99_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers. `started_s` is from the start of its process to its first answer."""

    pid: int
    port: int
    key: str
    started_s: float

    def ask(self, request: Request, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON of one request, outside of any measurement."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        headers = {"X-API-Key": key or self.key, "Content-Type": "application/json"}
        try:
            connection.request(request.method, request.path, request.body or None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()

    def load(
        self,
        requests: Sequence[Request],
        directory: Path,
        *,
        clients: int,
        seconds: float,
        key: str | None = None,
        core: int = CLIENT_CORE,
    ) -> Load:
        """Send the requests in turn that long from that core. Raises RuntimeError when one is refused or breaks."""
        script = directory / "requests.tsv"
        script.write_text("".join(f"{each.method}\t{each.path}\t{each.body}\n" for each in requests))
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--latency", "--timeout", "20s"]
        address = f"http://127.0.0.1:{self.port}"
        before = cpu_seconds(self.pid)
        done = subprocess.run(
            [*_on_core(core), *command, "-s", str(_SCRIPT), address, "--", str(script)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "BENCHMARK_KEY": key or self.key},
        )
        used = cpu_seconds(self.pid) - before
        seen = json.loads(done.stdout.splitlines()[-1])
        if seen["refused"] or seen["broken"]:
            raise RuntimeError(f"{requests[0].method} {requests[0].path}: {seen}")
        return Load(
            requests=seen["requests"],
            per_s=seen["requests"] / seen["seconds"],
            per_cpu_s=seen["requests"] / max(used, 0.01),
            p50_ms=seen["p50_us"] / 1e3,
            p99_ms=seen["p99_us"] / 1e3 if seen["requests"] >= ENOUGH_FOR_P99 else None,
        )

    def load_once(self, requests: Sequence[Request], directory: Path, *, clients: int) -> Load:
        """Send each request once. Raises RuntimeError when one is refused or breaks."""
        script = directory / "once.tsv"
        script.write_text("".join(f"{each.method}\t{each.path}\t{each.body}\n" for each in requests))
        command = [*_on_core(CLIENT_CORE), sys.executable, "-P", str(_ONCE), str(self.port), str(clients), self.key]
        before = cpu_seconds(self.pid)
        done = subprocess.run([*command, str(script)], capture_output=True, text=True, check=False)
        used = cpu_seconds(self.pid) - before
        if done.returncode:
            raise RuntimeError(done.stderr[-300:])
        seen = json.loads(done.stdout)
        return Load(
            requests=seen["requests"],
            per_s=seen["requests"] / seen["seconds"],
            per_cpu_s=seen["requests"] / max(used, 0.01),
            p50_ms=seen["p50_ms"],
            p99_ms=seen["p99_ms"],
        )


@contextmanager
def hello() -> Iterator[Server]:
    """The yardstick, on uvicorn as Grantbook is."""
    port = _free_port()
    with _running(_HELLO.format(core=SERVER_CORE, port=port), port, Request("GET", "/"), "none") as server:
        yield server


@contextmanager
def grantbook(book: Book, first: Request, *, core: int = SERVER_CORE, **settings: Any) -> Iterator[Server]:
    """`grantbook serve` with one worker on the book; it has started when it answers `first`."""
    port = _free_port()
    code = _GRANTBOOK.format(
        core=core, settings={"database": book.url, "port": port, "log_level": "warning", **settings}
    )
    with _running(code, port, first, book.key) as server:
        yield server


def missing_tools() -> list[str]:
    """What has to be installed before anything here can run."""
    return [name for name in ("wrk", "taskset") if shutil.which(name) is None]


@contextmanager
def _running(code: str, port: int, first: Request, key: str) -> Iterator[Server]:
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT)
    try:
        started_s = _first_answer(process, port, first, key) - begin
        yield Server(pid=process.pid, port=port, key=key, started_s=started_s)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE_S)


def _first_answer(process: "subprocess.Popen[bytes]", port: int, first: Request, key: str) -> float:
    """When it came. Raises RuntimeError when the server ends, is silent for a minute, or refuses."""
    server = Server(pid=process.pid, port=port, key=key, started_s=0)
    end = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            status, answer = server.ask(first)
        except OSError:
            time.sleep(0.005)
            continue
        if status != 200:
            raise RuntimeError(f"the first answer was {status}: {answer}")
        return time.perf_counter()
    raise RuntimeError("the server does not answer")


def _on_core(core: int) -> list[str]:
    return ["taskset", "-c", str(core)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
