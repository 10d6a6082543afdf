"""A server for each test: these tests kill it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serving import Server, serving

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with some number of processes; stopped after the test."""
    with ExitStack() as servers:

        def start(workers: int = 1) -> Server:
            return servers.enter_context(serving(tmp_path, workers=workers))

        yield start
