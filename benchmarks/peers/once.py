"""HTTP load that sends each request once, which wrk cannot: `python once.py PORT CLIENTS KEY FILE` prints JSON.

The file has a method, a path and a body a line, between tabs, as for wrk. Standard library only; connections are kept.
"""

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PATIENCE_S: Final = 60.0


class Client:
    """One connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._sent_at = 0.0

    def send(self, request: bytes) -> None:
        """The next one."""
        self._received = b""
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> float | None:
        """Milliseconds that the answer took, once it is whole. Raises RuntimeError when it is not a good one."""
        part = self.socket.recv(1 << 20)
        self._received += part
        head, mark, body = self._received.partition(b"\r\n\r\n")
        if not part or (mark and head.split(b" ", 2)[1] not in {b"200", b"201"}):
            raise RuntimeError(self._received[:300].decode(errors="replace") or "the connection was closed")
        length = _LENGTH.search(head) if mark else None
        if length is None or len(body) < int(length[1]):
            return None
        return (time.perf_counter() - self._sent_at) * 1e3


def requests(path: Path, key: str) -> list[bytes]:
    """What goes over the wire."""
    head = f"Host: 127.0.0.1\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    found = []
    for line in path.read_text().splitlines():
        method, target, body = line.split("\t")
        found.append(f"{method} {target} HTTP/1.1\r\n{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode())
    return found


def send_all(port: int, count: int, left: Iterator[bytes]) -> list[float]:
    """Milliseconds of each answer."""
    taken: list[float] = []
    with selectors.DefaultSelector() as selector:
        for request in list(islice(left, count)):
            client = Client(port)
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send(request)
        while selector.get_map():
            ready = selector.select(_PATIENCE_S)
            if not ready:
                raise RuntimeError("no answer for a minute")
            for key, _ in ready:
                took_ms = key.data.receive()
                if took_ms is None:
                    continue
                taken.append(took_ms)
                following = next(left, None)
                if following is None:
                    selector.unregister(key.fileobj)
                else:
                    key.data.send(following)
    return taken


def main() -> None:
    """Send them, and print how many there were, the seconds, and the percentiles in milliseconds."""
    port, clients, key, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    prepared = requests(path, key)
    begin = time.perf_counter()
    taken = sorted(send_all(port, clients, iter(prepared)))
    seconds = time.perf_counter() - begin
    p50_ms, p99_ms = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    print(json.dumps({"requests": len(taken), "seconds": seconds, "p50_ms": p50_ms, "p99_ms": p99_ms}))


if __name__ == "__main__":
    main()
