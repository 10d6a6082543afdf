"""Cerbos, which holds no grants: its caller has to load them and to send them along with every question.

Sent are either the user's principals and the grants of the entity, so that Cerbos does the joining, or only the level
that the caller has found already, so that it compares two numbers. Over HTTP and over gRPC.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import setup
from benchmarks.peers.grpc import Call
from benchmarks.peers.protocol import Work
from benchmarks.peers.running import Json, Process, free_port
from benchmarks.peers.server import Requests, ServerPeer, batches, new_directory
from benchmarks.peers.world import LEVELS, Question, Questions, World
from benchmarks.servers import Request

_PATH: Final = "/api/check/resources"
_METHOD: Final = "cerbos.svc.v1.CerbosService/CheckResources"
_BATCH: Final = 50
_DIFFERENT: Final = 20_000


class Cerbos(ServerPeer):
    """One of the four ways to ask it."""

    def __init__(self, way: str, *, sends_grants: bool) -> None:
        super().__init__()
        self.name = f"Cerbos, {'grants' if sends_grants else 'level'} sent"
        self.way = way
        self._sends_grants = sends_grants

    def load(self, world: World, questions: Questions, directory: Path) -> float:
        """Only a policy: there is nothing to load."""
        self.world, self.questions = world, questions
        self.directory = new_directory(directory, f"cerbos-{self.way}-{self._sends_grants}")
        policies = self.directory / "policies"
        policies.mkdir()
        (policies / "entity.json").write_text(json.dumps(_policy(sends_grants=self._sends_grants)))
        self.start()
        return 0.0

    def start(self) -> None:
        """As a server's."""
        self.http_port, self.grpc_port = free_port(), free_port()
        config = self.directory / "cerbos.json"
        config.write_text(json.dumps(self._configuration(self.directory / "policies")))
        program = str(setup.program("cerbos"))
        self.process = Process([program, "server", f"--config={config}"], self.directory / "log")
        self._json = Json(self.http_port)
        self.process.wait_until(lambda: self._json.get("/_cerbos/health"))

    def check(self, questions: Sequence[Question]) -> list[bool]:
        """One by one."""
        return batches(questions, 1, self._check_one)

    def traffic(self, work: Work) -> Call | Requests | str:
        """Checks only, as CheckResources."""
        asked = self.questions
        match work:
            case Work.WARM | Work.ONE:
                return self._sent([[each] for each in asked.warm])
            case Work.DIFFERENT:
                return self._sent([[each] for each in asked.different[:_DIFFERENT]])
            case Work.HUNDRED:
                return self._sent([each[:_BATCH] for each in asked.hundreds])
            case Work.THOUSAND:
                return self._sent([each[:_BATCH] for each in asked.thousands])
            case Work.COLD | Work.PAGE | Work.ENTITIES | Work.USERS | Work.WRITE:
                return "it holds no grants"

    def note(self, work: Work, /) -> str:
        """That batches are bounded."""
        return f"in batches of {_BATCH}, its bound" if work in {Work.HUNDRED, Work.THOUSAND} else ""

    def _sent(self, lists: Sequence[Sequence[Question]]) -> Call | Requests:
        messages = [self._message(each) for each in lists]
        answers = len(lists[0])
        if self.way == "gRPC":
            return Call(_METHOD, messages, answers)
        return Requests([Request("POST", _PATH, json.dumps(each)) for each in messages], answers)

    def _check_one(self, questions: Sequence[Question]) -> list[bool]:
        found = self._json.post(_PATH, self._message(questions))
        return [
            result["actions"][question.level] == "EFFECT_ALLOW"
            for question, result in zip(questions, found["results"], strict=True)
        ]

    def _message(self, questions: Sequence[Question]) -> dict[str, Any]:
        """All about the user of the first one."""
        user = questions[0].user
        principal: dict[str, Any] = {"id": user, "roles": ["user"]}
        if self._sends_grants:
            principal["attr"] = {"principals": [f"{each.kind}:{each.id}" for each in self.world.principals(user)]}
        return {"principal": principal, "resources": [self._resource(each) for each in questions]}

    def _resource(self, question: Question) -> dict[str, Any]:
        granted = self.world.ranks.get(question.entity, {})
        attributes: dict[str, Any]
        if self._sends_grants:
            attributes = {
                level: [f"{each.kind}:{each.id}" for each, held in granted.items() if held == rank]
                for rank, level in enumerate(LEVELS)
            }
        else:
            attributes = {"level": max(granted.get(each, -1) for each in self.world.principals(question.user))}
        return {
            "actions": [question.level],
            "resource": {"kind": "entity", "id": question.entity, "attr": attributes},
        }

    def _configuration(self, policies: Path) -> dict[str, Any]:
        return {
            "server": {
                "httpListenAddr": f"127.0.0.1:{self.http_port}",
                "grpcListenAddr": f"127.0.0.1:{self.grpc_port}",
                "metricsEnabled": False,
            },
            "telemetry": {"disabled": True},
            "storage": {"driver": "disk", "disk": {"directory": str(policies), "watchForChanges": False}},
        }


def all_ways() -> list[Cerbos]:
    """The four."""
    return [Cerbos(way, sends_grants=sends_grants) for way in ("HTTP", "gRPC") for sends_grants in (True, False)]


def _policy(*, sends_grants: bool) -> dict[str, Any]:
    return {
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": {
            "version": "default",
            "resource": "entity",
            "rules": [
                {
                    "actions": [level],
                    "effect": "EFFECT_ALLOW",
                    "roles": ["*"],
                    "condition": {"match": {"expr": _joined(rank) if sends_grants else f"R.attr.level >= {rank}"}},
                }
                for rank, level in enumerate(LEVELS)
            ],
        },
    }


def _joined(rank: int) -> str:
    return " || ".join(f"hasIntersection(P.attr.principals, R.attr.{level})" for level in LEVELS[rank:])
