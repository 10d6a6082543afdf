"""Who may do what: every kind of caller on every operation, by the one table of `rights`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from grantbook.bootstrap import open_desk
from grantbook.model.governance import ADMIN, CAPABILITIES, OWNER
from grantbook.service.desk import Desk
from tests.databases import empty_book
from tests.http.calls import UNGUARDED, Scene, documented_operations
from tests.http.envelope import error_of
from tests.http.inprocess import client_of
from tests.http.rights import FORMER, LINES, MEMBER, RIGHTS, STRANGER, SUBJECT, Right, changes, request
from tests.serving import Person, Tenant

every_operation = pytest.mark.parametrize("operation", RIGHTS)
HIDDEN = "/v1/assistants/"
"""To who is no member, an assistant is not found: its address does not name the organization."""
UNKNOWN = ("/access/grants/{grant_id}",)
"""What is not found by members who may not read it, as if it were not there."""


@dataclass(frozen=True)
class House:
    """A server in this process, with an organization that nobody may change and another one."""

    desk: Desk
    client: httpx.Client
    scene: Scene
    other: Tenant

    def try_to(self, operation: str, who: Person | None, scene: Scene) -> httpx.Response:
        if operation in LINES:
            headers = {"Content-Type": "application/x-ndjson"} | ({"X-API-Key": who.secret} if who else {})
            path = operation.removeprefix("POST ").format(**scene.ids)
            return self.client.post(path, content=json.dumps(LINES[operation](scene)), headers=headers)
        made = request(operation, scene, who.user_id if who else scene.owner_id)
        return made.send(self.client, who.secret if who else None)

    def allows(self, operation: str, who: Person, scene: Scene | None = None) -> None:
        answer = self.try_to(operation, who, scene or self.scene)
        assert answer.is_success, f"{operation}: {answer.status_code} {answer.text}"

    def refuses(self, operation: str, who: Person | None, status: int = 403) -> None:
        before = self.scene.tenant.revision
        error_of(self.try_to(operation, who, self.scene), status)
        assert self.scene.tenant.revision == before

    def keeps_from(self, operation: str, member: Person) -> None:
        """As `refuses`, for a member whose key has every scope."""
        is_unknown = operation.startswith("GET ") and operation.endswith(UNKNOWN)
        self.refuses(operation, member, 404 if is_unknown else 403)

    def tells_nothing(self, operation: str, who: Person) -> None:
        answer = self.try_to(operation, who, self.scene)
        assert answer.is_success, answer.text
        assert self.scene.tenant.tag not in answer.text

    def fresh(self, operation: str) -> Scene:
        """A scene to succeed in."""
        return Scene(self.desk) if changes(operation) else self.scene


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    desk = open_desk(empty_book(tmp_path_factory.mktemp("rights"), "memory"))
    with client_of(desk) as client:
        yield House(desk=desk, client=client, scene=Scene(desk), other=Tenant.found(desk))
    desk.close()


@pytest.fixture(scope="module")
def roles(house: House) -> dict[frozenset[str], Person]:
    """Members of the scene that nobody changes, by what they may do."""
    wanted = {each for right in RIGHTS.values() for each in right.too_little}
    return {each: holder(house.scene, each) for each in wanted}


def holder(scene: Scene, capabilities: frozenset[str]) -> Person:
    """A member with one custom role, of exactly these."""
    return scene.tenant.person(scene.tenant.role(*sorted(capabilities)))


def key_of_owner(scene: Scene, scope: str) -> Person:
    owner_id = scene.tenant.owner.user_id
    return Person(owner_id, scene.tenant.key(owner_id, scopes=(scope,)))


def test_every_operation_is_in_the_table() -> None:
    """A new one says here who may do it."""
    documented = set(documented_operations()) - set(UNGUARDED)
    assert documented - set(RIGHTS) == set(), "say in tests/http/rights.py who may call these"
    assert set(RIGHTS) - documented == set(), "these are gone: take them out of tests/http/rights.py"


def test_the_table_names_capabilities() -> None:
    assert {each for right in RIGHTS.values() for some in right.enough for each in some} <= set(CAPABILITIES)


@every_operation
def test_owners_may(operation: str, house: House) -> None:
    scene = house.fresh(operation)
    house.allows(operation, scene.tenant.owner, scene)
    second = house.fresh(operation)
    house.allows(operation, second.tenant.person(second.tenant.base_role(OWNER)), second)


@every_operation
def test_admins_may_what_their_capabilities_say(operation: str, house: House) -> None:
    scene = house.fresh(operation)
    admin = scene.tenant.person(scene.tenant.base_role(ADMIN))
    if RIGHTS[operation].is_open_to_admins:
        house.allows(operation, admin, scene)
    else:
        house.keeps_from(operation, house.scene.tenant.person(house.scene.tenant.base_role(ADMIN)))


@every_operation
def test_the_capabilities_of_the_table_are_enough(operation: str, house: House) -> None:
    for each in RIGHTS[operation].enough:
        scene = house.fresh(operation)
        house.allows(operation, holder(scene, each), scene)


@every_operation
def test_all_other_capabilities_together_are_not_enough(
    operation: str, house: House, roles: dict[frozenset[str], Person]
) -> None:
    for each in RIGHTS[operation].too_little:
        house.keeps_from(operation, roles[each])


@every_operation
def test_plain_members_and_those_concerned_may_what_the_table_says(operation: str, house: House) -> None:
    names = RIGHTS[operation].names
    scene = house.fresh(operation)
    subject = Person(scene.bob, scene.tenant.key(scene.bob))
    if MEMBER in names:
        house.allows(operation, scene.tenant.person(), scene)
    else:
        house.keeps_from(operation, house.scene.tenant.person())
    if SUBJECT in names:
        house.allows(operation, subject, scene)
    else:
        house.keeps_from(operation, Person(house.scene.bob, house.scene.tenant.key(house.scene.bob)))


@every_operation
@pytest.mark.parametrize("scope", ["check", "read", "write"])
def test_scopes_narrow(operation: str, scope: str, house: House) -> None:
    if RIGHTS[operation].scope == scope:
        scene = house.fresh(operation)
        house.allows(operation, key_of_owner(scene, scope), scene)
    else:
        house.refuses(operation, key_of_owner(house.scene, scope))


@every_operation
def test_who_is_deactivated_may_nothing(operation: str, house: House) -> None:
    tenant = house.scene.tenant
    for role in (OWNER, ADMIN):
        person = tenant.person(tenant.base_role(role))
        tenant.set_state(person.user_id, "deactivated")
        if FORMER in RIGHTS[operation].names:
            house.tells_nothing(operation, person)
        else:
            house.refuses(operation, person)


@every_operation
def test_owners_of_another_organization_reach_nothing_of_ours(operation: str, house: House) -> None:
    stranger = house.other.owner
    if STRANGER in RIGHTS[operation].names:
        house.tells_nothing(operation, stranger)
    else:
        house.refuses(operation, stranger, 404 if HIDDEN in operation else 403)


@every_operation
def test_nobody_may_anything_without_a_key(operation: str, house: House) -> None:
    house.refuses(operation, None, 401)


@every_operation
def test_what_is_shared_with_nobody_is_not_told(operation: str, house: House) -> None:
    """A plain member gets lists, but nothing in them that is private to somebody else."""
    if MEMBER not in RIGHTS[operation].names or changes(operation):
        return
    scene = house.scene
    answer = house.try_to(operation, scene.tenant.person(), scene)
    private = (scene.slice, scene.other_slice, scene.composite, scene.store, scene.assistant, scene.rule)
    assert not [ref for ref in private if f'"{ref.id}"' in answer.text]
    assert not [id_ for id_ in (scene.grant.id, scene.key.id) if id_ in answer.text]
    assert '"allowed":true' not in answer.text


def test_a_right_knows_what_is_too_little() -> None:
    right = Right("read", frozenset(), ("manage_rules", "manage_users+assign_roles"))
    missing = {frozenset(CAPABILITIES) - each for each in right.too_little}
    assert missing == {frozenset({"manage_rules", "manage_users"}), frozenset({"manage_rules", "assign_roles"})}
