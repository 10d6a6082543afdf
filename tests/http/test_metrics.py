"""What a scrape tells, and what it never tells."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from grantbook.bootstrap import open_desk
from grantbook.http.app import create_app
from grantbook.service.desk import Desk
from tests.databases import empty_book
from tests.http.envelope import error_of
from tests.http.inprocess import InProcess
from tests.serving import Tenant

REQUESTS = "grantbook_http_request_seconds_count"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = open_desk(empty_book(tmp_path, "memory"))
    yield opened
    opened.close()


def client(desk: Desk, *, metrics: bool) -> httpx.Client:
    return httpx.Client(transport=InProcess(create_app(desk, metrics=metrics)), base_url="http://measured")


def scrape(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_there_are_no_metrics_unless_they_are_asked_for(desk: Desk) -> None:
    error_of(client(desk, metrics=False).get("/metrics"), 404, "ROUTE_NOT_FOUND")


def test_requests_are_told_by_route_and_status(desk: Desk) -> None:
    tenant = Tenant.found(desk)
    entity, user = tenant.entity(), tenant.user()
    question = {"user_id": user, "entity_type": entity.type, "entity_id": entity.id, "access_level": "read"}
    measured = client(desk, metrics=True)
    for secret in (tenant.owner.secret, "gb_wrong"):
        measured.headers["X-API-Key"] = secret
        measured.post(f"{tenant.path}/access/check", json=question)
        measured.post(f"{tenant.path}/access/check", json={})
        measured.get(f"{tenant.path}/access/grants")
    measured.get("/nowhere/at/all")
    found = scrape(measured)
    organization = "/v1/organizations/{organization_id}"
    told = {labels[1:]: value for labels, value in found.items() if labels[0] == REQUESTS}
    assert told == {
        ("POST", f"{organization}/access/check", "200"): 1,
        ("POST", f"{organization}/access/check", "422"): 1,
        ("POST", f"{organization}/access/check", "401"): 2,
        ("GET", f"{organization}/access/grants", "200"): 1,
        ("GET", f"{organization}/access/grants", "401"): 1,
        ("none", "none", "404"): 1,
    }
    assert found["grantbook_cache_organizations",] == 1
    assert found["grantbook_cache_loads_total",] >= 1


def test_no_label_tells_of_anybody(desk: Desk) -> None:
    tenant = Tenant.found(desk)
    measured = client(desk, metrics=True)
    measured.headers["X-API-Key"] = tenant.owner.secret
    measured.get(f"{tenant.path}/users/{tenant.owner.user_id}/resolved-access")
    measured.request("BREW", f"/v1/{tenant.tag}")
    text = measured.get("/metrics").text
    assert not [secret for secret in (tenant.tag, tenant.owner.secret, "BREW") if secret in text]
