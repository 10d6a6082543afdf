"""gRPC load by ghz on the core of the clients: it finds the methods by reflection, and decodes every answer."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import CLIENT_CORE
from benchmarks.measuring import ENOUGH_FOR_P99
from benchmarks.peers import setup

CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Call:
    """A method and the messages to send it in turn; each is about so many checks, lists or grants."""

    method: str
    messages: Sequence[object]
    answers: float = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What ghz saw."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Sends calls to one server. Raises Missing when ghz cannot be had."""

    port: int
    directory: Path
    metadata: Mapping[str, str]

    def send(self, call: Call, *, clients: int, seconds: float) -> Sent:
        """The messages in turn, over and over, for that long. Raises RuntimeError when one is refused or breaks."""
        return self._run(call, clients, "--duration", f"{seconds:.1f}s", "--duration-stop", "wait")

    def send_once(self, call: Call, *, clients: int) -> Sent:
        """Each message once."""
        return self._run(call, clients, "--total", str(len(call.messages)))

    def send_stream(self, call: Call) -> Sent:
        """All messages in one stream of the client's."""
        return self._run(call, 1, "--total", "1")

    def _run(self, call: Call, clients: int, *limits: str) -> Sent:
        messages, found = self.directory / "messages.json", self.directory / "ghz.json"
        messages.write_text(json.dumps(call.messages))
        command = ["taskset", "-c", str(CLIENT_CORE), str(setup.program("ghz")), "--insecure", "--call", call.method]
        command += ["--data-file", str(messages), "--metadata", json.dumps(self.metadata)]
        command += ["--concurrency", str(clients), "--connections", str(min(clients, CONNECTIONS)), "--timeout", "60s"]
        command += ["--disable-template-functions", "--disable-template-data", "--cpus", "1"]
        command += ["--format", "json", "--output", str(found), *limits, f"127.0.0.1:{self.port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
        if done.returncode:
            raise RuntimeError(f"{call.method}: {done.stderr[-500:]}")
        return _sent(call.method, json.loads(found.read_text()))


def _sent(method: str, report: dict[str, Any]) -> Sent:
    if set(report["statusCodeDistribution"]) != {"OK"}:
        raise RuntimeError(f"{method}: {report['statusCodeDistribution']} {report.get('errorDistribution')}")
    places = {place["percentage"]: place["latency"] / 1e6 for place in report["latencyDistribution"]}
    return Sent(
        requests=report["count"],
        seconds=report["total"] / 1e9,
        p50_ms=places[50],
        p99_ms=places[99] if report["count"] >= ENOUGH_FOR_P99 else None,
    )
