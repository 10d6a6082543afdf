"""Law 1 through every life: after any sequence of operations, what the server tells is what the definition gives.

A machine sends random requests about the directory and the life cycles of entities and grants; many are refused. After
each, it compares resolved access and users with access with the definition over all live facts of the store.
"""

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from grantbook.http.app import create_app
from grantbook.model.facts import EntityRef, Fact, Facts
from grantbook.model.governance import OWNER
from grantbook.model.instants import to_text
from grantbook.model.resolution import Access, access
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import verification
from grantbook.service.desk import SYSTEM, Desk
from tests.conftest import STORES
from tests.serving import Tenant
from tests.worlds import DAY, FakeClock, everything

Json = dict[str, Any]
Told = tuple[str, str, str, str | None]
_NUMBERS: Final = count(1)
EXAMPLES: Final = {"memory": settings().max_examples // 4}
FEW_EXAMPLES: Final = max(1, settings().max_examples // 10)
"""Where each step is a transaction of a database."""
_REFUSED: Final = {403, 404, 409, 422}

USERS: Final = ("usr_0", "usr_1", "usr_2", "usr_3")
DEPARTMENTS: Final = ("dept_0", "dept_1", "dept_2", "dept_3")
ROLES: Final = ("role_0", "role_1", "role_2")
SLICES: Final = ("kslice_0", "kslice_1", "kslice_2")
COMPOSITES: Final = ("kslice_3", "kslice_4")
STORED: Final = ("vs_0", "vs_1")
RULE: Final = ("rule", "rule_0")
KNOWN: Final = (
    *(("knowledge_slice", id_) for id_ in (*SLICES, *COMPOSITES)),
    *(("vector_store", id_) for id_ in STORED),
    ("assistant", "asst_0"),
)
CAPABILITIES: Final = ("override_all_permissions", "create_knowledge", "manage_users")
LEVELS: Final = BUILT_IN.entity_type("vector_store").levels
GRANTEES: Final = (
    *(("user", id_) for id_ in USERS),
    *(("department", id_) for id_ in DEPARTMENTS),
    *(("role", id_) for id_ in ROLES),
    ("organization", "org"),
)
OWNERS: Final = (*(("user", id_) for id_ in USERS), ("department", "dept_3"), ("organization", "org"))
MODES: Final = ("private", "department", "organization", "public")

users, departments, roles = st.sampled_from(USERS), st.sampled_from(DEPARTMENTS), st.sampled_from(ROLES)
slices, composites, stored = st.sampled_from(SLICES), st.sampled_from(COMPOSITES), st.sampled_from(STORED)
entities, grantees, levels = st.sampled_from(KNOWN), st.sampled_from(GRANTEES), st.sampled_from(LEVELS)
owners, modes = st.sampled_from(OWNERS), st.sampled_from(MODES)
windows = st.sampled_from(((None, None), (None, None), (None, 1), (1, None), (1, 2)))
rule_targets = st.tuples(st.sampled_from((*GRANTEES, ("all", "*"))), st.sampled_from(("view", "use", "modify")))


def some(values: tuple[Any, ...], *, at_most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=at_most)


class Place:
    """A server in this process on one store, and one event loop for all requests."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.kind = kind
        self.clock = FakeClock()
        self.desk = Desk(STORES[kind](directory, self.clock), BUILT_IN, self.clock, Random(7).randbytes)
        transport = httpx.ASGITransport(create_app(self.desk), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://in-process")
        self.runner = asyncio.Runner()

    def send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        return self.runner.run(self.client.request(method, path, **parts))

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()
        self.desk.close()


@pytest.fixture(scope="module", params=STORES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("life"), request.param)
    yield made
    made.close()


class Life(RuleBasedStateMachine):
    """One organization and its owner, who does everything. Ids carry the number of the organization."""

    place: ClassVar[Place]

    def __init__(self) -> None:
        super().__init__()
        self.tag = f"-{next(_NUMBERS)}"
        self.tenant = Tenant.found(self.place.desk, f"org{self.tag}".replace("-", "_"))
        self.steps = 0
        self._populate()

    def id(self, short: str) -> str:
        """The id of this organization's own."""
        return self.tenant.organization_id if short == "org" else short if short == "*" else short + self.tag

    def ids(self, shorts: list[str]) -> list[str]:
        return [self.id(each) for each in shorts]

    def send(self, method: str, path: str, body: object = None, **query: str) -> httpx.Response:
        """As the owner."""
        address = path if path.startswith("/v1/") else self.tenant.path + path
        key = {"X-API-Key": self.tenant.owner.secret}
        return self.place.send(method, address, json=body, params=query, headers=key)

    def do(self, method: str, path: str, body: object = None) -> bool:
        """Whether it was done; what is refused changes nothing."""
        before = self.tenant.revision
        answer = self.send(method, path, body)
        assert answer.is_success or answer.status_code in _REFUSED, answer.text
        assert answer.is_success or self.tenant.revision == before
        return answer.is_success

    def _populate(self) -> None:
        for number, id_ in enumerate(DEPARTMENTS):
            parent = self.id(DEPARTMENTS[number - 1]) if number in {1, 2} else None
            assert self.do("POST", "/departments", {"id": self.id(id_), "name": id_, "parent_id": parent})
        for id_, capability in zip(ROLES, CAPABILITIES, strict=True):
            assert self.do("POST", "/roles", {"id": self.id(id_), "name": id_, "capabilities": [capability]})
        for number, id_ in enumerate(USERS):
            assert self._invite(id_, is_active=True, department_ids=[DEPARTMENTS[number]])
        for type_, id_ in KNOWN:
            assert id_ in COMPOSITES or self._register(type_, id_, ("user", USERS[0]), "private", [])
        for id_ in COMPOSITES:
            assert self._compose(id_, [SLICES[0], SLICES[1]])
        assert self.do("POST", "/rules", {"id": self.id(RULE[1]), "name": "Be kind", "content": "Always."})
        for entity, grantee in ((KNOWN[0], GRANTEES[4]), (KNOWN[3], GRANTEES[8]), (KNOWN[5], GRANTEES[5])):
            body = {**self._entity(entity), **self._grantee(grantee), "access_level": "write"}
            assert self.do("POST", "/access/grants", body)
        assert self.do("PATCH", f"/knowledge/stores/{self.id(STORED[0])}", {"slice_ids": self.ids([SLICES[0]])})

    def _invite(self, user_id: str, *, is_active: bool, department_ids: list[str]) -> bool:
        return self.do(
            "POST",
            "/users/invite/v2",
            {
                "email": f"{user_id}@example.org",
                "user_id": self.id(user_id),
                "send_invitation": not is_active,
                "department_ids": self.ids(department_ids),
            },
        )

    def _register(self, type_: str, id_: str, owner: tuple[str, str], mode: str, targets: list[str]) -> bool:
        body = {
            "name": id_,
            "owner_type": owner[0],
            "owner_id": self.id(owner[1]),
            "access_mode": mode,
            "access_target_ids": self.ids(targets),
        }
        return self.do("PUT", f"/entities/{type_}/{self.id(id_)}", body)

    def _compose(self, composite: str, members: list[str]) -> bool:
        body = {"id": self.id(composite), "name": composite, "member_slice_ids": self.ids(members)}
        return self.do("POST", "/knowledge/composites", body)

    # the directory

    @rule(user_id=users, is_active=st.booleans(), department_ids=some(DEPARTMENTS))
    def invite(self, user_id: str, is_active: bool, department_ids: list[str]) -> None:
        self._invite(user_id, is_active=is_active, department_ids=department_ids)

    @rule(user_id=users)
    def activate(self, user_id: str) -> None:
        self.do("POST", f"/users/{self.id(user_id)}/reactivate")

    @rule(user_id=users, heir=st.sampled_from((None, *DEPARTMENTS)))
    def deactivate(self, user_id: str, heir: str | None) -> None:
        body = {"transfer_resources_to_department_id": None if heir is None else self.id(heir)}
        self.do("POST", f"/users/{self.id(user_id)}/deactivate", body)

    @rule(user_id=users, heir=st.sampled_from((None, *DEPARTMENTS)))
    def remove(self, user_id: str, heir: str | None) -> None:
        body = {"transfer_resources_to_department_id": None if heir is None else self.id(heir)}
        self.do("DELETE", f"/users/{self.id(user_id)}", body)

    @rule(user_id=users)
    def restore(self, user_id: str) -> None:
        self.do("POST", f"/users/{self.id(user_id)}/restore")

    @rule(user_id=users, role_ids=some(ROLES), department_ids=some(DEPARTMENTS))
    def set_memberships(self, user_id: str, role_ids: list[str], department_ids: list[str]) -> None:
        body = {"role_ids": self.ids(role_ids), "department_ids": self.ids(department_ids)}
        self.do("PATCH", f"/users/{self.id(user_id)}/memberships", body)

    @rule(department_id=departments, parent=st.sampled_from((None, *DEPARTMENTS)))
    def create_department(self, department_id: str, parent: str | None) -> None:
        parent_id = None if parent is None else self.id(parent)
        self.do("POST", "/departments", {"id": self.id(department_id), "name": "Law", "parent_id": parent_id})

    @rule(department_id=departments, parent=st.sampled_from((None, *DEPARTMENTS)))
    def reparent_department(self, department_id: str, parent: str | None) -> None:
        body = {"new_parent_id": None if parent is None else self.id(parent)}
        self.do("POST", f"/departments/{self.id(department_id)}/reparent", body)

    @rule(department_id=departments)
    def delete_department(self, department_id: str) -> None:
        self.do("DELETE", f"/departments/{self.id(department_id)}")

    @rule(department_id=departments, user_id=users, joins=st.booleans())
    def join_or_leave(self, department_id: str, user_id: str, joins: bool) -> None:
        path = f"/departments/{self.id(department_id)}/members"
        if joins:
            self.do("POST", path, {"user_id": self.id(user_id)})
        else:
            self.do("DELETE", f"{path}/{self.id(user_id)}")

    @rule(role_id=roles, capabilities=some(CAPABILITIES))
    def create_role(self, role_id: str, capabilities: list[str]) -> None:
        self.do("POST", "/roles", {"id": self.id(role_id), "name": role_id, "capabilities": capabilities})

    @rule(role_id=roles, capabilities=some(CAPABILITIES))
    def update_role(self, role_id: str, capabilities: list[str]) -> None:
        self.do("PATCH", f"/roles/{self.id(role_id)}", {"capabilities": capabilities})

    @rule(role_id=roles)
    def delete_role(self, role_id: str) -> None:
        self.do("DELETE", f"/roles/{self.id(role_id)}")

    @rule(role_id=roles, user_id=users, gets=st.booleans())
    def assign_or_unassign(self, role_id: str, user_id: str, gets: bool) -> None:
        path = f"/roles/{self.id(role_id)}/members"
        if gets:
            self.do("POST", path, {"user_id": self.id(user_id)})
        else:
            self.do("DELETE", f"{path}/{self.id(user_id)}")

    # entities

    @rule(slice_id=slices, owner=owners, mode=modes)
    def create_slice(self, slice_id: str, owner: tuple[str, str], mode: str) -> None:
        body = {
            "id": self.id(slice_id),
            "name": "Law",
            "owner_type": owner[0],
            "owner_id": self.id(owner[1]),
            "access_mode": mode,
        }
        self.do("POST", "/knowledge/slices", body)

    @rule(slice_id=slices, mode=modes, shown_to=some((*USERS, *DEPARTMENTS)))
    def show_slice(self, slice_id: str, mode: str, shown_to: list[str]) -> None:
        body = {"access_mode": mode, "access_target_ids": self.ids(shown_to)}
        self.do("PATCH", f"/knowledge/slices/{self.id(slice_id)}", body)

    @rule(slice_id=st.one_of(slices, composites), how=st.sampled_from(("archive", "unarchive")))
    def archive_or_unarchive(self, slice_id: str, how: str) -> None:
        self.do("POST", f"/knowledge/slices/{self.id(slice_id)}/{how}")

    @rule(composite=composites, members=some((*SLICES, *COMPOSITES), at_most=3))
    def compose(self, composite: str, members: list[str]) -> None:
        self._compose(composite, members)

    @rule(composite=composites, members=some((*SLICES, *COMPOSITES), at_most=3))
    def recompose(self, composite: str, members: list[str]) -> None:
        body = {"member_slice_ids": self.ids(members)}
        self.do("PATCH", f"/knowledge/composites/{self.id(composite)}", body)

    @rule(store_id=stored, slice_id=slices, mode=st.sampled_from(("private", "organization", "inherit")))
    def create_store(self, store_id: str, slice_id: str, mode: str) -> None:
        body = {"id": self.id(store_id), "name": "Files", "access_mode": mode}
        self.do("POST", f"/knowledge/slices/{self.id(slice_id)}/stores", body)

    @rule(store_id=stored, slice_ids=some((*SLICES, *COMPOSITES)), is_active=st.booleans())
    def move_store(self, store_id: str, slice_ids: list[str], is_active: bool) -> None:
        body = {"slice_ids": self.ids(slice_ids), "is_active": is_active}
        self.do("PATCH", f"/knowledge/stores/{self.id(store_id)}", body)

    @rule(entity=entities, owner=owners, mode=modes, shown_to=some((*USERS, *DEPARTMENTS)))
    def register(self, entity: tuple[str, str], owner: tuple[str, str], mode: str, shown_to: list[str]) -> None:
        self._register(*entity, owner, mode, shown_to if mode in {"private", "department"} else [])

    @rule(entity=entities, comes_back=st.booleans())
    def delete_and_register_again(self, entity: tuple[str, str], comes_back: bool) -> None:
        """What comes back under the same id starts with nothing that was there before."""
        self.do("DELETE", f"/entities/{entity[0]}/{self.id(entity[1])}")
        if comes_back:
            assert self._register(*entity, ("organization", "org"), "private", [])
            assert self.tenant.grants(entity_type=entity[0], entity_id=self.id(entity[1])) == []

    # grants

    @rule(entity=entities, grantee=grantees, level=levels, window=windows)
    def grant(
        self, entity: tuple[str, str], grantee: tuple[str, str], level: str, window: tuple[int | None, int | None]
    ) -> None:
        starts_at, expires_at = (None if days is None else self._in_days(days) for days in window)
        entry = {**self._grantee(grantee), "access_level": level, "starts_at": starts_at, "expires_at": expires_at}
        self.do("POST", "/access/grants", {**self._entity(entity), **entry})

    @rule(entity=entities, chosen=some(GRANTEES, at_most=4), level=levels)
    def grant_in_bulk(self, entity: tuple[str, str], chosen: list[tuple[str, str]], level: str) -> None:
        entries = [{**self._grantee(each), "access_level": level} for each in chosen]
        self.do("POST", "/access/grants/bulk", {**self._entity(entity), "grants": entries})

    @rule(position=st.integers(0, 30), level=st.sampled_from((None, *LEVELS)))
    def update_or_revoke(self, position: int, level: str | None) -> None:
        found = sorted(each.id for each in self.tenant.grants() if each.entity_type != RULE[0])
        if not found:
            return
        path = f"/access/grants/{found[position % len(found)]}"
        if level is None:
            assert self.do("DELETE", path)
        else:
            assert self.do("PATCH", path, {"access_level": level})

    @rule(permissions=st.lists(rule_targets, max_size=3, unique_by=lambda each: each[0]))
    def set_rule_permissions(self, permissions: list[tuple[tuple[str, str], str]]) -> None:
        body = [{**self._target(target), "access_level": level} for target, level in permissions]
        self.do("PUT", f"{self._rule}/permissions", body)

    @rule(permission=rule_targets)
    def grant_on_rule(self, permission: tuple[tuple[str, str], str]) -> None:
        target, level = permission
        self.do("PATCH", f"{self._rule}/permissions/grant", {**self._target(target), "access_level": level})

    @rule(permission=rule_targets)
    def revoke_on_rule(self, permission: tuple[tuple[str, str], str]) -> None:
        self.do("PATCH", f"{self._rule}/permissions/revoke", self._target(permission[0]))

    @rule(user_id=users, right=st.sampled_from(("view", "edit", "owner")))
    def give_the_rule(self, user_id: str, right: str) -> None:
        self.do("POST", f"{self._rule}/access", {"user_id": self.id(user_id), "access_level": right})

    @rule(comes_back=st.booleans())
    def delete_the_rule(self, comes_back: bool) -> None:
        self.do("DELETE", f"/rules/{self.id(RULE[1])}")
        if comes_back:
            assert self.do("POST", "/rules", {"id": self.id(RULE[1]), "name": "Be fair", "content": "Ever."})

    @rule()
    def a_day_passes(self) -> None:
        self.place.clock.advance(DAY)

    # laws

    @invariant()
    def everybody_is_told_what_the_definition_gives(self) -> None:
        """A few users and entities after each step, in turn."""
        self.steps += 1
        facts = self._facts()
        for number in range(2):
            self._compare_user(facts, USERS[(2 * self.steps + number) % len(USERS)])
        everywhere = (*KNOWN, RULE)
        for number in range(3):
            self._compare_entity(facts, everywhere[(3 * self.steps + number) % len(everywhere)])

    @invariant()
    def nothing_dangles(self) -> None:
        """Every grant is on something and to somebody; a rule's may name users of elsewhere. Somebody owns it all."""
        facts = self._facts()
        refs = set(facts.entities)
        known = {
            "user": set(facts.members),
            "department": set(facts.departments),
            "role": set(facts.roles),
            "organization": {self.tenant.organization_id},
            "all": {"*"},
        }
        for ref, grants in facts.grants_on.items():
            assert not grants or ref in refs
            for each in grants:
                is_elsewhere = ref.type == RULE[0] and each.grantee_type == "user"
                assert is_elsewhere or each.grantee_id in known[each.grantee_type]
        assert facts.roles_of.keys() | facts.departments_of.keys() <= facts.members.keys()
        owner = self.tenant.base_role(OWNER)
        assert any(
            owner in facts.roles_of.get(user_id, ()) for user_id, each in facts.members.items() if each.is_active
        )

    def teardown(self) -> None:
        assert not self.do("DELETE", f"/users/{self.tenant.owner.user_id}")
        facts = self._facts()
        for user_id in USERS:
            self._compare_user(facts, user_id)
        for entity in (*KNOWN, RULE):
            self._compare_entity(facts, entity)
        assert verification.verify(self.place.desk, self.tenant.organization_id).problems == []

    def _compare_user(self, facts: Facts, short: str) -> None:
        user_id = self.id(short)
        answer = self.send("GET", f"/users/{user_id}/resolved-access")
        if user_id not in facts.members and answer.status_code == 404:
            assert not any(each.grantee_id == user_id for grants in facts.grants_on.values() for each in grants)
            return
        assert answer.status_code == 200, answer.text
        found = {(each["entity_type"], each["entity_id"]): told(each) for each in answer.json()["entities"]}
        expected = {ref: self._access(facts, user_id, ref) for ref in facts.entities}
        assert found == {ref: defined(each) for ref, each in expected.items() if each.level is not None}

    def _compare_entity(self, facts: Facts, entity: tuple[str, str]) -> None:
        ref = EntityRef(entity[0], self.id(entity[1]))
        answer = self.send("GET", "/access/users-with-access", entity_type=ref.type, entity_id=ref.id)
        assert answer.status_code == (200 if ref in facts.entities else 404), answer.text
        if ref not in facts.entities:
            return
        found = {each["user_id"]: told(each) for each in answer.json()["users"]}
        named = {each.grantee_id for each in facts.grants_on.get(ref, ()) if each.grantee_type == "user"}
        expected = {user_id: self._access(facts, user_id, ref) for user_id in {*facts.members, *named}}
        assert found == {user_id: defined(each) for user_id, each in expected.items() if each.level is not None}

    def _facts(self) -> Facts:
        """All that the store has, live."""
        with self.place.desk.reading(self.tenant.organization_id, SYSTEM) as reading:
            live: list[Fact] = [fact for kind in everything(reading.snapshot).values() for fact in kind]
        return Facts.of(self.tenant.organization_id, live)

    def _access(self, facts: Facts, user_id: str, ref: EntityRef) -> Access:
        return access(facts, BUILT_IN, user_id, ref, self.place.clock())

    def _in_days(self, days: int) -> str:
        return to_text(self.place.clock() + days * DAY)

    def _entity(self, entity: tuple[str, str]) -> Json:
        return {"entity_type": entity[0], "entity_id": self.id(entity[1])}

    def _grantee(self, grantee: tuple[str, str]) -> Json:
        return {"grantee_type": grantee[0], "grantee_id": self.id(grantee[1])}

    def _target(self, target: tuple[str, str]) -> Json:
        return {"target_type": target[0], "target_id": self.id(target[1])}

    @property
    def _rule(self) -> str:
        return f"/v1/rules/{self.id(RULE[1])}"


def told(entry: Json) -> tuple[str, list[Told]]:
    """A level and its paths, as the wire has them."""
    paths = [
        (path["type"], path["access_level"], path["source_id"], path.get("grant_id")) for path in entry["grant_paths"]
    ]
    return entry["access_level"], paths


def defined(found: Access) -> tuple[str | None, list[Told]]:
    """The same of the definition."""
    return found.level, [(path.type, path.access_level, path.source.id, path.grant_id) for path in found.paths]


def test_after_any_sequence_of_operations_everybody_is_told_what_the_definition_gives(place: Place) -> None:
    Life.place = place
    run_state_machine_as_test(
        Life, settings=settings(max_examples=EXAMPLES.get(place.kind, FEW_EXAMPLES), stateful_step_count=20)
    )
