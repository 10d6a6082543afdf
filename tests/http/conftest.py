"""One real server for all of these tests; each test has an organization of its own on it."""

from collections.abc import Iterator

import httpx
import pytest

from tests.serving import Server, Tenant, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("http")) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    """Sends no key of its own."""
    with server.client() as anonymous:
        yield anonymous


@pytest.fixture
def tenant(server: Server) -> Tenant:
    return Tenant.found(server.desk)


@pytest.fixture
def owner(server: Server, tenant: Tenant) -> Iterator[httpx.Client]:
    """Speaks for the owner of the tenant."""
    with server.client(tenant.owner.secret) as client:
        yield client


@pytest.fixture
def stranger(server: Server) -> Tenant:
    """Another organization on the same server."""
    return Tenant.found(server.desk)
