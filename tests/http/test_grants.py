"""One grant by its id: as the list of grants shows it, and to nobody else."""

import httpx

from tests.http.calls import unknown
from tests.http.envelope import error_of
from tests.serving import Server, Tenant


def test_a_grant_is_shown_as_in_the_list(tenant: Tenant, owner: httpx.Client) -> None:
    (grant,) = tenant.grant(tenant.entity(), "read", tenant.user())
    address = f"{tenant.path}/access/grants"
    assert [owner.get(f"{address}/{grant.id}").json()] == owner.get(address).json()["items"]


def test_a_grant_that_the_list_does_not_show_is_not_found(server: Server, tenant: Tenant, owner: httpx.Client) -> None:
    person = tenant.person()
    hidden, shown = (tenant.grant(tenant.entity(), "read", to)[0] for to in (tenant.user(), person.user_id))
    address = f"{tenant.path}/access/grants"
    with server.client(person.secret) as member:
        assert [member.get(f"{address}/{shown.id}").json()] == member.get(address).json()["items"]
        refused = error_of(member.get(f"{address}/{hidden.id}"), 404, "RESOURCE_NOT_FOUND")
    assert owner.delete(f"{address}/{hidden.id}").status_code == 204
    for grant_id in (hidden.id, unknown(hidden.id)):
        error = error_of(owner.get(f"{address}/{grant_id}"), 404, "RESOURCE_NOT_FOUND")
        patched = error_of(owner.patch(f"{address}/{grant_id}", json={"access_level": "write"}), 404)
        assert error["system_message"] == patched["system_message"] == refused["system_message"]
        assert error["details"] == patched["details"] == {"grant_id": grant_id}
    assert refused["details"] == {"grant_id": hidden.id}


def test_an_address_of_a_grant_says_that_it_can_be_read(tenant: Tenant, owner: httpx.Client) -> None:
    answer = owner.put(f"{tenant.path}/access/grants/agrant_1")
    error_of(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, PATCH, DELETE"
