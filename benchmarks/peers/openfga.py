"""OpenFGA on PostgreSQL, every cache on and large enough for the data, limits on the length of lists off.

A user is in a department or role by the relation `member`; a grant is a tuple of its level, from the user or from the
`#member` of the group; each level includes the one above.
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

_SERVICE: Final = "openfga.v1.OpenFGAService"
_BATCH: Final = 50
_WRITTEN_AT_ONCE: Final = 100
_LOADERS: Final = 8
_SINGLES: Final = 200
_LATEST: Final = {"consistency": "HIGHER_CONSISTENCY"}
_SETTINGS: Final = {
    "check-cache-limit": "1000000",
    "check-query-cache-enabled": "true",
    "check-iterator-cache-enabled": "true",
    "list-objects-iterator-cache-enabled": "true",
    "cache-controller-enabled": "true",
    "cache-controller-ttl": "10s",
    "check-query-cache-ttl": "300s",
    "check-iterator-cache-ttl": "300s",
    "list-objects-iterator-cache-ttl": "300s",
    "datastore-max-idle-conns": "30",
    "listObjects-max-results": "0",
    "listObjects-deadline": "60s",
    "listUsers-max-results": "0",
    "listUsers-deadline": "60s",
    "request-timeout": "60s",
    "playground-enabled": "false",
    "metrics-enabled": "false",
    "log-level": "error",
}


class OpenFGA(GrantStore):
    """Answers may be up to ten seconds old: that is what its caches promise."""

    name = "OpenFGA"
    way = "gRPC"

    def begin(self, directory: Path) -> None:
        """As a store's."""
        self.directory = new_directory(directory, "openfga")
        program, self.postgres = str(setup.program("openfga")), Postgres(directory.parent)
        database = ["--datastore-engine", "postgres", "--datastore-uri", self.postgres.url]
        run([program, "migrate", *database])
        self._command = [program, "run", *database, *(f"--{name}={value}" for name, value in _SETTINGS.items())]
        self.start()
        store = self._json.post("/stores", {"name": "benchmark"})["id"]
        self._path = f"/stores/{store}"
        model = self._json.post(f"{self._path}/authorization-models", _model())["authorization_model_id"]
        self._in = {"store_id": store, "authorization_model_id": model}

    def put(self, worlds: Sequence[World]) -> float:
        """In writes of 100 tuples, the most that one takes."""
        tuples = [each for world in worlds for each in _tuples(world)]
        writes = [
            {**self._in, "writes": {"tuple_keys": tuples[at : at + _WRITTEN_AT_ONCE]}}
            for at in range(0, len(tuples), _WRITTEN_AT_ONCE)
        ]
        sent = self.generator.send_once(Call(f"{_SERVICE}/Write", writes), clients=_LOADERS)
        return sent.seconds

    def singles(self, questions: Sequence[Question]) -> Call:
        """As a store's, at the default consistency, which uses the caches."""
        return Call(f"{_SERVICE}/Check", [{**self._in, "tuple_key": _tuple(each)} for each in questions])

    def start(self) -> None:
        """As a server's."""
        self.grpc_port, self.http_port = free_port(), free_port()
        addresses = [f"--grpc-addr=127.0.0.1:{self.grpc_port}", f"--http-addr=127.0.0.1:{self.http_port}"]
        self.process = Process([*self._command, *addresses], self.directory / "log")
        self._json = Json(self.http_port)
        self.process.wait_until(lambda: self._json.get("/healthz"))

    def check(self, questions: Sequence[Question]) -> list[bool]:
        """The first ones singly, the others in batches, at the latest state."""
        singles = [
            self._json.post(f"{self._path}/check", {**self._in, **_LATEST, "tuple_key": _tuple(each)})["allowed"]
            for each in questions[:_SINGLES]
        ]
        return singles + batches(questions[_SINGLES:], _BATCH, self._check_batch)

    def entities(self, user: str, /) -> set[str] | None:
        """By ListObjects."""
        found = self._json.post(f"{self._path}/list-objects", {**self._objects(user), **_LATEST})
        return {each.removeprefix("entity:") for each in found["objects"]}

    def users(self, entity: str, /) -> set[str] | None:
        """By ListUsers."""
        found = self._json.post(f"{self._path}/list-users", {**self._users(entity), **_LATEST})
        return {each["object"]["id"] for each in found["users"]}

    def traffic(self, work: Work) -> Call | str:
        """At the default consistency, which uses the caches."""
        asked = self.questions
        match work:
            case Work.WARM | Work.ONE:
                return self.singles(asked.warm)
            case Work.DIFFERENT:
                return self.singles(asked.different)
            case Work.COLD:
                return self.singles(asked.cold)
            case Work.HUNDRED | Work.THOUSAND:
                batch = asked.hundreds if work is Work.HUNDRED else asked.thousands
                return Call(f"{_SERVICE}/BatchCheck", [self._batch(each[:_BATCH]) for each in batch], _BATCH)
            case Work.PAGE:
                return "its lists have no pages"
            case Work.ENTITIES:
                return Call(f"{_SERVICE}/StreamedListObjects", [self._objects(each) for each in asked.users])
            case Work.USERS:
                return Call(f"{_SERVICE}/ListUsers", [self._users(each) for each in asked.entities])
            case Work.WRITE:
                return Call(f"{_SERVICE}/Write", [self._write(each) for each in asked.writes])

    def note(self, work: Work, /) -> str:
        """That batches are bounded."""
        return f"in batches of {_BATCH}, its bound" if work in {Work.HUNDRED, Work.THOUSAND} else ""

    def _check_batch(self, questions: Sequence[Question]) -> list[bool]:
        found = self._json.post(f"{self._path}/batch-check", {**self._batch(questions), **_LATEST})["result"]
        return [bool(found[str(number)].get("allowed")) for number in range(len(questions))]

    def _batch(self, questions: Sequence[Question]) -> dict[str, Any]:
        checks = [{"tuple_key": _tuple(each), "correlation_id": str(at)} for at, each in enumerate(questions)]
        return {**self._in, "checks": checks}

    def _objects(self, user: str) -> dict[str, Any]:
        return {**self._in, "type": "entity", "relation": "read", "user": f"user:{user}"}

    def _users(self, entity: str) -> dict[str, Any]:
        wanted = {"object": {"type": "entity", "id": entity}, "relation": "read", "user_filters": [{"type": "user"}]}
        return {**self._in, **wanted}

    def _write(self, grant: Grant) -> dict[str, Any]:
        return {**self._in, "writes": {"tuple_keys": [_granted(grant)]}}


def _tuple(question: Question) -> dict[str, str]:
    return {"user": f"user:{question.user}", "relation": question.level, "object": f"entity:{question.entity}"}


def _tuples(world: World) -> list[dict[str, str]]:
    members = [
        {"user": f"user:{user}", "relation": "member", "object": f"{group.kind}:{group.id}"}
        for user in world.users
        for group in world.groups[user]
    ]
    return members + [_granted(each) for each in world.grants]


def _granted(grant: Grant) -> dict[str, str]:
    return {"user": _subject(grant.principal), "relation": grant.level, "object": f"entity:{grant.entity}"}


def _subject(principal: Principal) -> str:
    return f"{principal.kind}:{principal.id}" + ("" if principal.kind == "user" else "#member")


def _model() -> dict[str, Any]:
    grantees = [{"type": "user"}, *({"type": each, "relation": "member"} for each in ("department", "role"))]
    group: dict[str, Any] = {"relations": {"member": {"this": {}}}}
    only_users = {"relations": {"member": {"directly_related_user_types": [{"type": "user"}]}}}
    levels = {"admin": {"this": {}}, "write": _or_above("admin"), "read": _or_above("write")}
    granted = {"relations": {level: {"directly_related_user_types": grantees} for level in levels}}
    return {
        "schema_version": "1.1",
        "type_definitions": [
            {"type": "user"},
            {"type": "department", **group, "metadata": only_users},
            {"type": "role", **group, "metadata": only_users},
            {"type": "entity", "relations": levels, "metadata": granted},
        ],
    }


def _or_above(level: str) -> dict[str, Any]:
    return {"union": {"child": [{"this": {}}, {"computedUserset": {"relation": level}}]}}
