"""SpiceDB on PostgreSQL, its caches on as they are by default, asked at its default consistency (minimize latency).

A user is in a department or role by the relation `member`; a grant is a relation of its level, from the user or from
the `#member` of the group; each level is a permission that includes the one above.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import setup
from benchmarks.peers.grpc import Call
from benchmarks.peers.postgres import Postgres
from benchmarks.peers.protocol import Work
from benchmarks.peers.running import Json, Process, free_port, run
from benchmarks.peers.server import GrantStore, batches, new_directory
from benchmarks.peers.world import Grant, Principal, Question, World

_KEY: Final = "benchmark"
_SERVICE: Final = "authzed.api.v1.PermissionsService"
_SCHEMA: Final = """
definition user {}
definition department {
  relation member: user
}
definition role {
  relation member: user
}
definition entity {
  relation granted_read: user | department#member | role#member
  relation granted_write: user | department#member | role#member
  relation granted_admin: user | department#member | role#member
  permission admin = granted_admin
  permission write = granted_write + admin
  permission read = granted_read + write
}
"""
_IMPORTED_AT_ONCE: Final = 1_000
_SINGLES: Final = 200
_BATCH: Final = 100
_LATEST: Final = {"fullyConsistent": True}
_FAST: Final = {"minimizeLatency": True}


class SpiceDB(GrantStore):
    """Answers may be up to ten seconds old: that is what its caches and its default consistency promise.

    Its cache is keyed by revision, and by default a heartbeat makes a new one every five seconds, as every write does.
    Without the heartbeat, and while nobody writes, cached answers stay good for ever: the best that it can do.
    """

    way = "gRPC"

    def __init__(self, *, heartbeat: bool) -> None:
        super().__init__()
        self.name = "SpiceDB" if heartbeat else "SpiceDB, no heartbeat"
        self._heartbeat = heartbeat

    def begin(self, directory: Path) -> None:
        """As a store's."""
        self.directory = new_directory(directory, "spicedb")
        program, self.postgres = str(setup.program("spicedb")), Postgres(directory.parent)
        database = ["--datastore-engine", "postgres", "--datastore-conn-uri", self.postgres.url]
        run([program, "datastore", "migrate", "head", *database])
        self._command = [program, "serve", *database]
        self.start()
        self._json.post("/v1/schema/write", {"schema": _SCHEMA})

    def put(self, worlds: Sequence[World]) -> float:
        """By its stream for bulk imports."""
        relationships = [each for world in worlds for each in _relationships(world)]
        sent = self.generator.send_stream(
            Call(
                f"{_SERVICE}/ImportBulkRelationships",
                [
                    {"relationships": relationships[at : at + _IMPORTED_AT_ONCE]}
                    for at in range(0, len(relationships), _IMPORTED_AT_ONCE)
                ],
            )
        )
        return sent.seconds

    def singles(self, questions: Sequence[Question]) -> Call:
        """As a store's."""
        return Call(f"{_SERVICE}/CheckPermission", [_check(each) for each in questions])

    def start(self) -> None:
        """As a server's."""
        self.grpc_port, self.http_port = free_port(), free_port()
        options = ["--grpc-preshared-key", _KEY, "--grpc-addr", f"127.0.0.1:{self.grpc_port}", "--http-enabled"]
        options += ["--http-addr", f"127.0.0.1:{self.http_port}", "--metrics-enabled=false", "--telemetry-endpoint="]
        options += ["--log-level", "warn", "--skip-release-check"]
        options += [f"--enable-revision-heartbeat={str(self._heartbeat).lower()}"]
        self.process = Process([*self._command, *options], self.directory / "log")
        self.metadata = {"authorization": f"Bearer {_KEY}"}
        self._json = Json(self.http_port, self.metadata)
        self.process.wait_until(lambda: self._json.get("/healthz"))

    def check(self, questions: Sequence[Question]) -> list[bool]:
        """The first ones singly, the others in batches, at the latest state."""
        singles = [
            self._json.post("/v1/permissions/check", {"consistency": _LATEST, **_wire(each)})
            for each in questions[:_SINGLES]
        ]
        return [_has(each) for each in singles] + batches(questions[_SINGLES:], _BATCH, self._check_batch)

    def entities(self, user: str, /) -> set[str] | None:
        """By LookupResources."""
        found = self._json.post("/v1/permissions/resources", {**_resources(user), "consistency": _LATEST})
        return {each["result"]["resourceObjectId"] for each in _lines(found)}

    def users(self, entity: str, /) -> set[str] | None:
        """By LookupSubjects."""
        found = self._json.post("/v1/permissions/subjects", {**_subjects(entity), "consistency": _LATEST})
        return {each["result"]["subject"]["subjectObjectId"] for each in _lines(found)}

    def traffic(self, work: Work) -> Call | str:
        """Everything at `minimize_latency`."""
        asked = self.questions
        match work:
            case Work.WARM | Work.ONE:
                return self.singles(asked.warm)
            case Work.DIFFERENT:
                return self.singles(asked.different)
            case Work.COLD:
                return self.singles(asked.cold)
            case Work.HUNDRED:
                return Call(f"{_SERVICE}/CheckBulkPermissions", [_bulk(each, _FAST) for each in asked.hundreds], 100)
            case Work.THOUSAND:
                return Call(f"{_SERVICE}/CheckBulkPermissions", [_bulk(each, _FAST) for each in asked.thousands], 1_000)
            case Work.PAGE:
                pages = [{**_resources(each), "optionalLimit": 100} for each in asked.users]
                return Call(f"{_SERVICE}/LookupResources", pages)
            case Work.ENTITIES:
                return Call(f"{_SERVICE}/LookupResources", [_resources(each) for each in asked.users])
            case Work.USERS:
                return Call(f"{_SERVICE}/LookupSubjects", [_subjects(each) for each in asked.entities])
            case Work.WRITE:
                return Call(f"{_SERVICE}/WriteRelationships", [_write(each) for each in asked.writes])

    def _check_batch(self, questions: Sequence[Question]) -> list[bool]:
        found = self._json.post("/v1/permissions/checkbulk", _bulk(questions, _LATEST))
        return [_has(pair["item"]) for pair in found["pairs"]]


def _has(answer: dict[str, Any]) -> bool:
    return bool(answer["permissionship"] == "PERMISSIONSHIP_HAS_PERMISSION")


def _lines(found: object) -> list[dict[str, Any]]:
    return found if isinstance(found, list) else [found] if isinstance(found, dict) else []


def _relationships(world: World) -> list[dict[str, Any]]:
    members = [
        _relationship(group.kind, group.id, "member", Principal("user", user))
        for user in world.users
        for group in world.groups[user]
    ]
    return members + [_granted(each) for each in world.grants]


def _granted(grant: Grant) -> dict[str, Any]:
    return _relationship("entity", grant.entity, f"granted_{grant.level}", grant.principal)


def _relationship(kind: str, id_: str, relation: str, principal: Principal) -> dict[str, Any]:
    subject: dict[str, Any] = {"object": {"objectType": principal.kind, "objectId": principal.id}}
    if principal.kind != "user":
        subject["optionalRelation"] = "member"
    return {"resource": {"objectType": kind, "objectId": id_}, "relation": relation, "subject": subject}


def _user(user: str) -> dict[str, Any]:
    return {"object": {"objectType": "user", "objectId": user}}


def _wire(question: Question) -> dict[str, Any]:
    return {
        "resource": {"objectType": "entity", "objectId": question.entity},
        "permission": question.level,
        "subject": _user(question.user),
    }


def _check(question: Question) -> dict[str, Any]:
    return {"consistency": _FAST, **_wire(question)}


def _bulk(questions: Sequence[Question], consistency: object) -> dict[str, Any]:
    return {"consistency": consistency, "items": [_wire(each) for each in questions]}


def _resources(user: str) -> dict[str, Any]:
    wanted = {"resourceObjectType": "entity", "permission": "read", "subject": _user(user)}
    return {"consistency": _FAST, **wanted}


def _subjects(entity: str) -> dict[str, Any]:
    resource = {"objectType": "entity", "objectId": entity}
    return {"consistency": _FAST, "resource": resource, "permission": "read", "subjectObjectType": "user"}


def _write(grant: Grant) -> dict[str, Any]:
    return {"updates": [{"operation": "OPERATION_TOUCH", "relationship": _granted(grant)}]}
