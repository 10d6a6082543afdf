"""Engines in process: a child process holds one, and is asked by lines of JSON on its standard input.

Run by the interpreter that has the engine, as `python -P inside.py ENGINE WORLD`; nothing is imported but the standard
library and the engine itself.
"""

import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

LEVELS: Final = ("read", "write", "admin")
_CASBIN_MODEL: Final = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.obj == p.obj && r.act == p.act && g(r.sub, p.sub)
"""
_CEDAR_POLICIES: Final = """
permit(principal, action == Action::"read", resource) when { principal in resource.read };
permit(principal, action == Action::"write", resource) when { principal in resource.write };
permit(principal, action == Action::"admin", resource) when { principal in resource.admin };
"""

Asked = tuple[str, str, str]
"""User, entity, level."""


class Engine(Protocol):
    """What can be asked of every engine in process; one that can list has `entities` or `users` or both."""

    def check(self, asked: Asked) -> bool: ...

    def check_many(self, asked: Sequence[Asked]) -> list[bool]: ...


class Casbin:
    """FastEnforcer, which keeps policies by entity and level; a grant is a policy for each level that it includes."""

    def __init__(self, world: dict[str, Any]) -> None:
        casbin = importlib.import_module("casbin")
        model = importlib.import_module("casbin.model").FastModel([1, 2])
        model.load_model_from_text(_CASBIN_MODEL)
        self._enforcer = casbin.FastEnforcer(model, cache_key_order=[1, 2])
        self._enforcer.add_policies(
            [[who, entity, level] for entity, who, rank in world["grants"] for level in LEVELS[: rank + 1]]
        )
        self._enforcer.add_grouping_policies([[user, group] for user, group in world["members"]])

    def check(self, asked: Asked) -> bool:
        return bool(self._enforcer.enforce(*asked))

    def check_many(self, asked: Sequence[Asked]) -> list[bool]:
        return [self.check(each) for each in asked]

    def entities(self, user: str) -> list[str]:
        found = self._enforcer.get_implicit_permissions_for_user(user)
        return [entity for _, entity, level in found if level == "read"]


class Cedar:
    """Policies and all entities parsed once; a grant puts the principal into a set that the entity has."""

    def __init__(self, world: dict[str, Any]) -> None:
        self._cedar = importlib.import_module("cedarpy")
        parents: dict[str, list[str]] = {}
        for user, group in world["members"]:
            parents.setdefault(user, []).append(group)
        granted: dict[str, dict[str, list[str]]] = {}
        for entity, who, rank in world["grants"]:
            for level in LEVELS[: rank + 1]:
                granted.setdefault(entity, {each: [] for each in LEVELS})[level].append(who)
        groups = sorted({group for held in parents.values() for group in held})
        document = [
            *(self._entity("Principal", each, {}, []) for each in groups),
            *(self._entity("Principal", user, {}, held) for user, held in parents.items()),
            *(self._entity("Thing", entity, sets, []) for entity, sets in granted.items()),
        ]
        self._policies = self._cedar.PolicySet.from_str(_CEDAR_POLICIES)
        self._entities = self._cedar.Entities.from_json_str(json.dumps(document))

    def check(self, asked: Asked) -> bool:
        return bool(self._cedar.is_authorized(self._request(asked), self._policies, self._entities).allowed)

    def check_many(self, asked: Sequence[Asked]) -> list[bool]:
        requests = [self._request(each) for each in asked]
        found = self._cedar.is_authorized_batch(requests, self._policies, self._entities)
        return [bool(each.allowed) for each in found]

    @staticmethod
    def _entity(kind: str, id_: str, sets: dict[str, list[str]], parents: list[str]) -> dict[str, Any]:
        named = [{"type": "Principal", "id": each} for each in parents]
        attributes = {
            level: [{"__entity": {"type": "Principal", "id": each}} for each in who] for level, who in sets.items()
        }
        return {"uid": {"type": kind, "id": id_}, "attrs": attributes, "parents": named}

    @staticmethod
    def _request(asked: Asked) -> dict[str, Any]:
        user, entity, level = asked
        return {
            "principal": {"type": "Principal", "id": user},
            "action": {"type": "Action", "id": level},
            "resource": {"type": "Thing", "id": entity},
            "context": {},
        }


class Grantbook:
    """The library on a book in SQLite, acting as the system."""

    _TYPE: Final = "assistant"

    def __init__(self, world: dict[str, Any]) -> None:
        library = importlib.import_module("grantbook.library")
        decisions = importlib.import_module("grantbook.service.decisions")
        facts = importlib.import_module("grantbook.model.facts")
        self._book = library.Grantbook(world["database"]).organization(world["organization"])
        self._question: Callable[[Asked], Any] = lambda asked: decisions.Check(
            user_id=asked[0], entity=facts.EntityRef(self._TYPE, asked[1]), access_level=asked[2]
        )

    def check(self, asked: Asked) -> bool:
        user, entity, level = asked
        return bool(self._book.check(user, level, self._TYPE, entity).allowed)

    def check_many(self, asked: Sequence[Asked]) -> list[bool]:
        return [each.allowed for each in self._book.check_many([self._question(one) for one in asked])]

    def entities(self, user: str) -> list[str]:
        return [ref.id for ref in self._book.entities_of(user)]

    def users(self, entity: str) -> list[str]:
        return [*self._book.users_of(self._TYPE, entity)]


ENGINES: Final[dict[str, Callable[[dict[str, Any]], Engine]]] = {
    "casbin": Casbin,
    "cedarpy": Cedar,
    "grantbook": Grantbook,
}
SHAPES: Final[dict[str, Callable[[Any], Any]]] = {
    "check": tuple,
    "check_many": lambda batch: [tuple(each) for each in batch],
}
"""What the arguments of the calls were before they became JSON."""


def measured(call: Callable[[Any], Any], given: Sequence[Any], seconds: float, *, once: bool = False) -> dict[str, Any]:
    """Call with each in turn for that long, after each was called, or as many as a second allows; or only once."""
    if not once:
        _timed(call, given, 1.0, len(given))
    cpu, begin = time.process_time(), time.perf_counter()
    taken = _timed(call, given, seconds, len(given) if once else math.inf)
    used, wall = time.process_time() - cpu, time.perf_counter() - begin
    taken.sort()
    p99 = taken[len(taken) * 99 // 100] * 1e3 if len(taken) >= 100 else None
    return {"calls": len(taken), "seconds": wall, "cpu_s": used, "p50_ms": taken[len(taken) // 2] * 1e3, "p99_ms": p99}


def _timed(call: Callable[[Any], Any], given: Sequence[Any], seconds: float, at_most: float = math.inf) -> list[float]:
    taken: list[float] = []
    clock, end, count = time.perf_counter, time.perf_counter() + seconds, len(given)
    now = clock()
    while now < end and len(taken) < at_most:
        one = given[len(taken) % count]
        before = clock()
        call(one)
        now = clock()
        taken.append(now - before)
    return taken


def main() -> None:
    """Say how long loading took, then answer one line for each line, until there are no more."""
    world = json.loads(Path(sys.argv[2]).read_text())
    begin = time.perf_counter()
    engine = ENGINES[sys.argv[1]](world)
    print(json.dumps({"load_s": time.perf_counter() - begin}), flush=True)
    del world
    for line in sys.stdin:
        asked = json.loads(line)
        call, shape = getattr(engine, asked["call"], None), SHAPES.get(asked["call"], str)
        if call is None:
            answer: Any = None
        elif "seconds" in asked:
            answer = measured(
                call, [shape(each) for each in asked["given"]], asked["seconds"], once=asked.get("once", False)
            )
        else:
            answer = call(shape(asked["given"]))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
