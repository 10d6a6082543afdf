"""Grantbook itself: `grantbook serve` with one worker, on a book in SQLite."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks import books, servers
from benchmarks.machine import SERVER_CORE, pinned
from benchmarks.peers.protocol import Work
from benchmarks.peers.running import Json, Process, free_port
from benchmarks.peers.server import Requests, ServerPeer, batches, new_directory
from benchmarks.peers.world import Grant, Question, Questions, World
from benchmarks.world import ORGANIZATION_ID, OWNER_ID
from benchmarks.world import World as Facts
from grantbook.model import facts
from grantbook.model.instants import SECOND, Instant

ENTITY_TYPE: Final = "assistant"
_ACCESS: Final = f"/v1/organizations/{ORGANIZATION_ID}/access"
_BEGIN: Final[Instant] = 1_767_225_600 * SECOND
_SINGLES: Final = 200
_BATCH: Final = 1_000
_PAGES: Final = (1_000, 100)
_WHOLE_LISTS: Final = 20


class GrantbookServer(ServerPeer):
    """Every request carries the API key of the organization's owner, who may ask about everybody."""

    name = "Grantbook"
    way = "HTTP"

    def load(self, world: World, questions: Questions, directory: Path) -> float:
        """By the store's own transactions, with history and audit."""
        self.world, self.questions, self.directory = world, questions, new_directory(directory, "grantbook")
        with pinned(SERVER_CORE):
            book = books.load(self.directory / "book.db", book_facts(world))
        self.metadata["key"] = book.key
        self._database = book.url
        self.start()
        self._page = self._largest_page()
        return book.directory_s + book.grants_s

    def start(self) -> None:
        """As a server's."""
        self.http_port = free_port()
        quiet = {"GRANTBOOK_LOG_LEVEL": "warning"}
        self.process = Process(serve(self._database, self.http_port), self.directory / "log", environment=quiet)
        self._json = Json(self.http_port, {"X-API-Key": self.metadata["key"]})
        self.process.wait_until(lambda: self._json.get("/healthz"))

    def check(self, questions: Sequence[Question]) -> list[bool]:
        """The first ones singly, the others in batches."""
        singles = [self._json.post(f"{_ACCESS}/check", wire_check(each)) for each in questions[:_SINGLES]]
        return [found["allowed"] for found in singles] + batches(questions[_SINGLES:], _BATCH, self._check_batch)

    def entities(self, user: str, /) -> set[str] | None:
        """All pages."""
        return {item["entity_id"] for page in self._pages("entities", user_id=user) for item in page["items"]}

    def users(self, entity: str, /) -> set[str] | None:
        """All pages, without the owner of the organization, whom no other system has."""
        pages = self._pages("users", entity_type=ENTITY_TYPE, entity_id=entity)
        return {item["user_id"] for page in pages for item in page["items"]} - {OWNER_ID}

    def traffic(self, work: Work) -> Requests | str:
        """Lists in the largest pages that the server gives; a list is then as many requests as it has pages."""
        asked = self.questions
        match work:
            case Work.WARM | Work.ONE:
                return Requests([_post("check", wire_check(each)) for each in asked.warm])
            case Work.DIFFERENT:
                return Requests([_post("check", wire_check(each)) for each in asked.different])
            case Work.COLD:
                return Requests([_post("check", wire_check(each)) for each in asked.cold])
            case Work.HUNDRED:
                return Requests([_post("check/batch", wire_batch(each)) for each in asked.hundreds], 100)
            case Work.THOUSAND:
                return Requests([_post("check/batch", wire_batch(each)) for each in asked.thousands], 1_000)
            case Work.PAGE:
                return Requests([_get("entities", user_id=each, limit=100) for each in asked.users])
            case Work.ENTITIES:
                return self._whole([("entities", {"user_id": each}) for each in asked.users[:_WHOLE_LISTS]])
            case Work.USERS:
                wire = [{"entity_type": ENTITY_TYPE, "entity_id": each} for each in asked.entities[:_WHOLE_LISTS]]
                return self._whole([("users", each) for each in wire])
            case Work.WRITE:
                return Requests([_post("grants", _wire_grant(each)) for each in asked.writes])

    def note(self, work: Work, /) -> str:
        """How large the pages are."""
        return f"in pages of {self._page:,}" if work in {Work.ENTITIES, Work.USERS} else ""

    def _check_batch(self, questions: Sequence[Question]) -> list[bool]:
        found = self._json.post(f"{_ACCESS}/check/batch", wire_batch(questions))
        return [each["allowed"] for each in found["results"]]

    def _largest_page(self) -> int:
        for limit in _PAGES:
            try:
                self._json.get(_get("entities", user_id=self.world.users[0], limit=limit).path)
            except RuntimeError:
                continue
            return limit
        raise RuntimeError("no size of page is accepted")

    def _pages(self, route: str, **query: str) -> list[dict[str, Any]]:
        return [self._json.get(request.path) for request in self._requests(route, query)]

    def _requests(self, route: str, query: dict[str, str]) -> list[servers.Request]:
        """One for each page, by cursor, as a client would ask them one after the other."""
        made = [_get(route, **query, limit=self._page)]
        while cursor := self._json.get(made[-1].path)["next_cursor"]:
            made.append(_get(route, **query, limit=self._page, cursor=cursor))
        return made

    def _whole(self, lists: Sequence[tuple[str, dict[str, str]]]) -> Requests:
        pages = [request for route, query in lists for request in self._requests(route, query)]
        return Requests(pages, len(lists) / len(pages))


def serve(database: str, port: int, *options: str) -> list[str]:
    """The command line of a server with one worker."""
    return [sys.executable, "-m", "grantbook", "serve", "--database", database, "--port", str(port), *options]


def book_facts(world: World) -> Facts:
    """The world in the book's words. Entities are private and the organization's owner owns them."""
    departments = sorted({each for groups in world.groups.values() for each in groups if each.kind == "department"})
    roles = sorted({each for groups in world.groups.values() for each in groups if each.kind == "role"})
    directory: list[facts.Fact] = []
    for number, each in enumerate(departments):
        name = f"Department {number}"
        directory.append(facts.Department(id=each.id, name=name, created_by=OWNER_ID, created_at=_BEGIN))
    for number, each in enumerate(roles):
        directory.append(facts.Role(id=each.id, name=f"Role {number}", created_at=_BEGIN))
    for number, user in enumerate(world.users):
        directory += _member(number, user, world)
    directory += [_entity(number, each) for number, each in enumerate([*world.entities, *world.fresh])]
    return Facts(
        directory=directory,
        grants=[_grant(number, each) for number, each in enumerate(world.grants)],
        users=world.users,
        leaves=[],
        entities=[facts.EntityRef(ENTITY_TYPE, each) for each in world.entities],
        trios=[],
        fresh=[],
    )


def _member(number: int, user: str, world: World) -> list[facts.Fact]:
    made: list[facts.Fact] = [
        facts.Member(
            user_id=user,
            email=f"person{number}@example.org",
            full_name=f"Person {number}",
            state="active",
            created_at=_BEGIN,
            updated_at=_BEGIN,
        )
    ]
    for group in world.groups[user]:
        if group.kind == "department":
            made.append(facts.DepartmentMember(department_id=group.id, user_id=user, added_at=_BEGIN))
        else:
            made.append(facts.RoleAssignment(role_id=group.id, user_id=user, assigned_at=_BEGIN))
    return made


def _entity(number: int, entity: str) -> facts.Entity:
    return facts.Entity(
        entity_type=ENTITY_TYPE,
        id=entity,
        name=f"Assistant {number}",
        owner_type="user",
        owner_id=OWNER_ID,
        access_mode="private",
        created_by=OWNER_ID,
        created_at=_BEGIN,
        updated_at=_BEGIN,
    )


def _grant(number: int, grant: Grant) -> facts.Grant:
    return facts.Grant(
        id=f"agrant_{number:032x}",
        entity_type=ENTITY_TYPE,
        entity_id=grant.entity,
        grantee_type=grant.principal.kind,
        grantee_id=grant.principal.id,
        access_level=grant.level,
        granted_by=OWNER_ID,
        created_at=_BEGIN,
        updated_at=_BEGIN,
    )


def _get(route: str, **query: object) -> servers.Request:
    return servers.Request("GET", f"{_ACCESS}/{route}?{urlencode(query)}")


def _post(route: str, body: object) -> servers.Request:
    return servers.Request("POST", f"{_ACCESS}/{route}", json.dumps(body))


def wire_check(question: Question) -> dict[str, str]:
    """The body of a single check."""
    return {
        "user_id": question.user,
        "entity_type": ENTITY_TYPE,
        "entity_id": question.entity,
        "access_level": question.level,
    }


def wire_batch(questions: Sequence[Question]) -> dict[str, object]:
    """The body of a batch."""
    return {"checks": [wire_check(each) for each in questions]}


def _wire_grant(grant: Grant) -> dict[str, str]:
    return {
        "entity_type": ENTITY_TYPE,
        "entity_id": grant.entity,
        "grantee_type": grant.principal.kind,
        "grantee_id": grant.principal.id,
        "access_level": grant.level,
    }
