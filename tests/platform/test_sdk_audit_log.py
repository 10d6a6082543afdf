"""Every method of the SDK's `audit_log_v2`, and the log of a slice, for success and for their main errors."""

import base64
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aitronos import Aitronos
from aitronos.types import AppApiV1SchemasAuditLogV2AuditLogListResponse as AuditLog

from grantbook.http.platform.audit_log_rendering import COLUMNS
from grantbook.service import departments
from grantbook.service.desk import SYSTEM
from tests.http.envelope import error_of
from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import refused
from tests.serving import Server, Tenant


def query(sdk: Aitronos, tenant: Tenant, **filters: Any) -> AuditLog:
    log: AuditLog = sdk.audit_log_v2.query_audit_log(tenant.organization_id, **filters)
    return log


def many(tenant: Tenant, number: int) -> None:
    """As many entries, in one revision."""
    with tenant.desk.writing(tenant.organization_id, SYSTEM) as writing:
        for each in range(number):
            departments.create(writing, name=f"D{each}", department_id=f"dept_{tenant.tag}-{each:05}")


def test_query_audit_log(sdk: Aitronos, house: House) -> None:
    grant = house.create(sdk, house.slice, "write")
    sdk.access_control.revoke_grant(house.id, grant.id)
    log = query(sdk, house.tenant, entity_type="knowledge_grant")
    assert [entry.action_type for entry in log.items] == ["revoked", "granted"]
    assert (log.total, log.skip, log.limit, log.has_more) == (2, 0, 50, False)
    revoked, granted = log.items
    assert (granted.entity_id, granted.entity_name) == (house.slice.id, f"The {house.slice.id}")
    assert (granted.target_id, granted.previous_value, granted.new_value) == (house.user, None, "write")
    assert (revoked.previous_value, revoked.new_value) == ("write", None)
    assert (granted.actor_id, granted.actor_name) == (house.tenant.owner.user_id, "Ada")
    assert granted.actor_email.startswith("ada@")
    assert granted.metadata is not None
    assert granted.metadata["trace_id"]
    assert granted.created_at is not None
    assert abs(datetime.now(UTC) - granted.created_at) < timedelta(minutes=1)


def test_query_audit_log_by_each_filter(sdk: Aitronos, house: House) -> None:
    department = house.tenant.department()
    house.tenant.grant(house.store, "read", department, grantee_type="department")
    house.create(sdk, house.slice)
    assert query(sdk, house.tenant, entity_id=house.store.id, action_type="granted").total == 1
    assert query(sdk, house.tenant, actor_id=house.tenant.owner.user_id).total == 1
    assert query(sdk, house.tenant, target_id=house.user, entity_type="knowledge_grant").total == 1
    assert query(sdk, house.tenant, department_id=department).total == 2
    assert query(sdk, house.tenant, search_term=house.slice.id.upper()).total == 2
    today, tomorrow = datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=1)
    everything = query(sdk, house.tenant).total
    yesterday = today - timedelta(days=1)
    assert query(sdk, house.tenant, from_date=yesterday.isoformat(), to_date=tomorrow.isoformat()).total == everything
    assert query(sdk, house.tenant, from_date=tomorrow.isoformat()).total == 0
    assert query(sdk, house.tenant, to_date=yesterday.isoformat()).total == 0
    a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    assert query(sdk, house.tenant, from_date=a_minute_ago.isoformat()).total == everything
    assert query(sdk, house.tenant, to_date=a_minute_ago.replace(tzinfo=None).isoformat()).total == 0


def test_query_audit_log_refuses_what_does_not_make_sense(sdk: Aitronos, tenant: Tenant) -> None:
    for wrong in ("yesterday", "2026-13-01", "2026-04-15T99:00:00Z", ""):
        with refused(422, "VALIDATION_ERROR", field="from_date"):
            query(sdk, tenant, from_date=wrong)
    with refused(422, "VALIDATION_ERROR", field="limit"):
        query(sdk, tenant, limit=101)


def test_query_audit_log_goes_on_where_a_page_ends(server: Server, tenant: Tenant) -> None:
    """By cursor, whatever is added meanwhile."""
    many(tenant, 120)
    with server.client(tenant.owner.secret) as client:
        seen, cursor = [], None
        while True:
            page = client.get(f"{tenant.path}/audit-log", params={"cursor": cursor} if cursor else {}).json()
            seen += [entry["id"] for entry in page["items"]]
            many_more = page["next_cursor"]
            if many_more is None:
                break
            cursor = many_more
            tenant.department()
        assert len(seen) == len(set(seen)) == page["total"] - 2
        for odd in ("x", "W10", "WzEsOTk5OTk5OTk5OTk5OTk5OTk5OTldX", "WyJhIiwiYiJd"):
            answer = client.get(f"{tenant.path}/audit-log", params={"cursor": odd})
            assert error_of(answer, 422, "VALIDATION_ERROR")["details"]["field"] == "cursor"


@pytest.mark.parametrize("method", ["query_audit_log", "export_audit_log", "export_audit_log_pdf"])
def test_the_audit_log_takes_the_right_to(clerk: Aitronos, outsider: Aitronos, house: House, method: str) -> None:
    capability = "view_audit_log" if method == "query_audit_log" else "export_audit_log"
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability=capability):
        getattr(clerk.audit_log_v2, method)(house.id)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        getattr(outsider.audit_log_v2, method)(house.id)


@pytest.mark.parametrize("method", ["export_audit_log", "export_audit_log_pdf"])
def test_exports_refuse_what_does_not_make_sense(sdk: Aitronos, tenant: Tenant, method: str) -> None:
    with refused(422, "VALIDATION_ERROR", field="to_date"):
        getattr(sdk.audit_log_v2, method)(tenant.organization_id, to_date="tomorrow")


def test_export_audit_log(sdk: Aitronos, house: House) -> None:
    """The SDK takes every answer for JSON: it gets the CSV as one text."""
    many(house.tenant, 2_345)
    house.create(sdk, house.slice)
    text = sdk.audit_log_v2.export_audit_log(house.id)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    log = query(sdk, house.tenant, limit=100)
    assert [row["id"] for row in rows][:100] == [entry.id for entry in log.items]
    assert len(rows) == len({row["id"] for row in rows}) == log.total
    assert (rows[0]["action_type"], rows[0]["new_value"]) == ("granted", "read")
    only = sdk.audit_log_v2.export_audit_log(house.id, entity_type="knowledge_grant")
    assert only.count("\r\n") == 2


def test_everybody_else_gets_a_file(server: Server, connect: Connect, tenant: Tenant) -> None:
    many(tenant, 1_500)
    with server.client(tenant.owner.secret) as client:
        with client.stream("GET", f"{tenant.path}/audit-log/export") as answer:
            assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
            assert "audit-log.csv" in answer.headers["Content-Disposition"]
            assert "Content-Length" not in answer.headers
            read = answer.read().decode()
        accepted = {"Accept": "application/json"}
        assert client.get(f"{tenant.path}/audit-log/export", headers=accepted).json() == read
        pdf = client.get(f"{tenant.path}/audit-log/export/pdf")
        assert (pdf.headers["Content-Type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
        assert pdf.content.rstrip().endswith(b"%%EOF")
        assert pdf.content.count(b"/Type /Page\n") > 50


def test_export_audit_log_pdf(sdk: Aitronos, tenant: Tenant) -> None:
    content = base64.b64decode(sdk.audit_log_v2.export_audit_log_pdf(tenant.organization_id))
    assert content.startswith(b"%PDF-")
    assert content.count(b"/Type /Page\n") == 1


def test_export_audit_log_pdf_says_when_it_would_be_too_long(sdk: Aitronos, tenant: Tenant) -> None:
    many(tenant, 5_001)
    with refused(422, "LIMIT_EXCEEDED", limit="pdf_entries", maximum=5_000):
        sdk.audit_log_v2.export_audit_log_pdf(tenant.organization_id)
    assert sdk.audit_log_v2.export_audit_log_pdf(tenant.organization_id, entity_type="role")


def test_list_slice_audit_log(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    house.create(sdk, house.slice)
    house.create(sdk, house.store)
    log = sdk.knowledge.list_slice_audit_log(house.id, house.slice.id)
    assert [(entry.entity_type, entry.action_type) for entry in log.items] == [
        ("knowledge_grant", "granted"),
        ("knowledge_slice", "created"),
    ]
    assert (log.total, log.limit) == (2, 50)
    assert sdk.knowledge.list_slice_audit_log(house.id, house.slice.id, action_type="created").total == 1
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_none"):
        sdk.knowledge.list_slice_audit_log(house.id, "kslice_none")
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="view_audit_log"):
        clerk.knowledge.list_slice_audit_log(house.id, house.slice.id)
    house.tenant.grant(house.slice, "admin", house.clerk.user_id)
    assert clerk.knowledge.list_slice_audit_log(house.id, house.slice.id).total == 3
