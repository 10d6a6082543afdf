"""A real server, and official SDK clients for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from aitronos import Aitronos

from tests.platform.house import House
from tests.serving import Server, Tenant, serving

Connect = Callable[[str], Aitronos]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture
def tenant(server: Server) -> Tenant:
    return Tenant.found(server.desk)


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """An SDK client with a key, as an application would make it; its connections end with the test."""
    with ExitStack() as connections:

        def connect(secret: str) -> Aitronos:
            transport = connections.enter_context(httpx.Client(timeout=30, verify=False))
            return Aitronos(api_key=secret, base_url=server.url, httpx_client=transport)

        yield connect


@pytest.fixture
def sdk(connect: Connect, tenant: Tenant) -> Aitronos:
    """Speaks for the owner of the tenant."""
    return connect(tenant.owner.secret)


@pytest.fixture
def house(tenant: Tenant) -> House:
    return House(tenant)


@pytest.fixture
def clerk(connect: Connect, house: House) -> Aitronos:
    """Speaks for the plain member."""
    return connect(house.clerk.secret)


@pytest.fixture
def outsider(connect: Connect, house: House) -> Aitronos:
    """Speaks for the owner of another organization."""
    return connect(Tenant.found(house.tenant.desk).owner.secret)
