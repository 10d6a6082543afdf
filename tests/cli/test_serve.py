"""`grantbook serve`."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict

import msgspec
import pytest

from grantbook import serve
from grantbook.cli.errors import Exit
from grantbook.settings import Settings
from tests.cli.conftest import TIMEOUT_S, Shell


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_server_answers_until_it_is_interrupted(demo: Shell) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "grantbook", "serve", "--port", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                    assert answer.status == 200
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        server.send_signal(signal.SIGINT)
        assert server.wait(TIMEOUT_S) == Exit.DONE
    finally:
        server.kill()
        server.wait()


def test_a_process_that_is_started_again_makes_no_empty_book(demo: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a worker that died: it would tell everybody that their key is unknown."""
    gone = demo.directory / "gone.db"
    settings = Settings(database=f"sqlite:///{gone}")
    monkeypatch.setenv(serve._HANDED_ON, msgspec.json.encode(asdict(settings)).decode())
    with pytest.raises(SystemExit, match="there is no database"):
        serve.application()
    assert not gone.exists()


def test_without_the_server_packages_it_says_what_to_install(shell: Shell) -> None:
    (shell.directory / "uvicorn.py").write_text("raise ModuleNotFoundError('uvicorn', name='uvicorn')\n")
    shell.environment.setenv("PYTHONPATH", str(shell.directory))
    shown = shell.process("serve")
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "pip install '.[server]'" in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("flag", ["--port=70000", "--port=http", "--workers=0", "--workers=65"])
def test_flags_that_cannot_be_are_usage_errors(shell: Shell, flag: str) -> None:
    shown = shell("serve", flag)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert flag.partition("=")[0] in shown.err


def test_a_vocabulary_that_cannot_be_read_is_an_error_before_anything_listens(demo: Shell) -> None:
    shown = demo.process("serve", "--vocabulary", "nothing.toml", "--port", str(free_port()))
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "nothing.toml" in shown.err
    assert "Traceback" not in shown.err


def test_a_replica_of_a_file_is_an_error_before_anything_listens(demo: Shell) -> None:
    shown = demo("serve", "--replica", "postgresql://127.0.0.1/none")
    assert (shown.code, "only a database of PostgreSQL has a replica" in shown.err) == (Exit.FAILED, True)


def test_an_address_that_cannot_be_listened_on_is_an_error(demo: Shell) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        for more in ((), ("--workers", "2")):
            shown = demo("serve", "--port", port, *more)
            assert (shown.code, shown.out) == (Exit.FAILED, "")
            assert shown.err.startswith(f"error: cannot listen on 127.0.0.1, port {port} (address already in use)")
            assert "--port" in shown.err
    for host in ("no.such.host.invalid", "192.0.2.1"):
        shown = demo("serve", "--host", host)
        assert (shown.code, host in shown.err, "--host" in shown.err) == (Exit.FAILED, True, True)
