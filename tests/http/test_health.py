"""What load balancers ask, and how they ask it."""

import re
import socket

import httpx
import pytest

from tests.http.envelope import error_of
from tests.serving import HOST, Server


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_head_is_that_of_the_answer_to_a_get_and_nothing_comes_after_it(path: str, server: Server) -> None:
    """On one connection, where a body that is not awaited would be taken for the next answer."""
    asked = b"".join(
        f"{method} {path} HTTP/1.1\r\nHost: here\r\nX-Request-ID: mine\r\nConnection: {after}\r\n\r\n".encode()
        for method, after in (("HEAD", "keep-alive"), ("HEAD", "keep-alive"), ("GET", "close"))
    )
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(asked)
        told = b"".join(iter(lambda: connection.recv(4096), b""))
    first, second, third, body = re.sub(rb"\r\ndate: [^\r]*", b"", told).split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: %d" % len(body) in first
    assert first == second
    assert third.replace(b"\r\nconnection: close", b"") == first
    assert body == b'{"status": "ok"}'


def test_health_is_only_asked_for(client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = client.post(path)
        error_of(answer, 405, "METHOD_NOT_ALLOWED")
        assert answer.headers["Allow"] == "GET, HEAD"
