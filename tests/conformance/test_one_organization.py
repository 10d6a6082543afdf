"""No statement crosses organizations. The suites look at each that they make; here is what that look sees."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select, union, update

from grantbook.model.facts import Grant, Member, Role
from grantbook.store import present_statements, walks
from grantbook.store.port import Store
from grantbook.store.sql import SqlStore
from grantbook.store.tables import FACT_TABLES, heads, lookups, user_organizations
from tests.serving import environment
from tests.statements import CrossesOrganizations, require_one_organization
from tests.worlds import ORGANIZATION, deposit, member

grants, members, roles = (FACT_TABLES[kind] for kind in (Grant, Member, Role))
other = grants.alias()
TENANT: Any = bindparam("tenant")


def held(table: Any) -> Any:
    return table.c.organization_id == TENANT


def reached(*conditions: Any) -> Any:
    """A walk whose second step has the conditions."""
    reach = select(grants.c.entity_id).where(held(grants)).cte("reach", recursive=True)
    return select(reach.union(select(other.c.entity_id).where(other.c.grantee_id == reach.c.entity_id, *conditions)))


@pytest.mark.parametrize(
    "statement",
    [
        select(grants.c.id),
        select(grants.c.id).where(grants.c.id == TENANT),
        select(grants.c.id).where(or_(held(grants), grants.c.id == "agrant_1")),
        select(grants.c.id).where(grants.c.organization_id != TENANT),
        select(grants.c.id).where(grants.c.organization_id == bindparam("another")),
        select(grants.c.id).where(grants.c.organization_id == grants.c.grantee_id),
        select(grants.c.id).where(~and_(held(grants), grants.c.id == "agrant_1")),
        select(grants.c.id, other.c.id).where(held(grants), other.c.id == grants.c.id),
        select(grants.c.id).join_from(grants, members, members.c.user_id == grants.c.grantee_id).where(held(grants)),
        select(grants.c.id).select_from(grants.outerjoin(roles, and_(held(grants), held(roles)))),
        select(grants.c.id).where(held(grants), grants.c.grantee_id.in_(select(members.c.user_id))),
        select(grants.c.id).where(held(grants), exists().where(members.c.user_id == grants.c.grantee_id)),
        select(grants.c.id, select(members.c.email).limit(1).scalar_subquery()).where(held(grants)),
        select(select(grants.c.id).subquery().c.id),
        select(select(grants.c.id).offset(0).lateral().c.id),
        union(select(grants.c.id).where(held(grants)), select(roles.c.id)),
        reached(),
        update(grants).values(until_revision=1),
        update(grants).where(held(grants)).values(grantee_id=select(members.c.user_id).limit(1).scalar_subquery()),
        delete(grants).where(grants.c.id == "agrant_1"),
        insert(grants).from_select(["id"], select(grants.c.id)),
        select(lookups.c.value).where(lookups.c.kind == "user"),
        select(heads.c.organization_id, heads.c.hash),
        select(user_organizations.c.organization_id),
    ],
)
def test_a_table_without_the_organization_is_found(statement: Any) -> None:
    with pytest.raises(CrossesOrganizations):
        require_one_organization(statement)


@pytest.mark.parametrize(
    "statement",
    [
        select(grants.c.id).where(held(grants)),
        select(grants.c.id, other.c.id).where(and_(held(grants), held(other)), other.c.id == grants.c.id),
        select(grants.c.id).select_from(grants.outerjoin(roles, held(roles))).where(held(grants)),
        select(grants.c.id).where(held(grants), exists().where(held(members), members.c.user_id == grants.c.id)),
        select(select(grants.c.id).where(held(grants)).subquery().c.id),
        select(select(grants.c.id).where(held(grants)).offset(0).lateral().c.id),
        reached(held(other)),
        update(grants).where(held(grants)).values(until_revision=1),
        insert(grants),
        select(lookups.c.value).where(lookups.c.key == bindparam("looked_up")),
        select(heads.c.organization_id).where(heads.c.revision > 0),
    ],
)
def test_one_with_it_is_not(statement: Any) -> None:
    require_one_organization(statement)


def test_a_store_that_forgets_it_is_caught(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In what is read for a use-case, and for a cache of facts. The reference makes no statements."""
    if not isinstance(store, SqlStore):
        return
    deposit(store, ORGANIZATION, [member("usr_1")])
    monkeypatch.setattr(store._statements, "_prepared", {})  # as if nobody had made any in this process
    monkeypatch.setattr(present_statements.PresentStatements, "_of_dialects", {})
    monkeypatch.setattr(walks, "live", lambda table: table.c.until_revision.is_(None))
    with store.snapshot(ORGANIZATION) as snapshot, pytest.raises(CrossesOrganizations, match="departments"):
        snapshot.departments_above(["dept_1"])
    monkeypatch.setattr(present_statements, "live", lambda table: table.c.until_revision.is_(None))
    cache = store.present()
    with cache.reading(), pytest.raises(CrossesOrganizations, match="members"):
        cache.standings(ORGANIZATION, ["usr_1"])
    cache.close()


def test_servers_under_test_are_looked_at_too(tmp_path: Path) -> None:
    program = (
        "from sqlalchemy import create_engine, select\n"
        "from grantbook.store.tables import heads\n"
        "select(heads).compile(create_engine('sqlite://'))"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "CrossesOrganizations" in ended.stderr
    assert "heads of every organization" in ended.stderr
