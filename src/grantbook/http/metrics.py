"""What Prometheus scrapes: requests by route, and the cache of facts. Of this process alone; off unless it is set.

No id, name or key is ever part of a label.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import Any, Final

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from grantbook.engine.facts_cache import FactCache
from grantbook.http.middleware import QUESTION, ROUTE, Front, Headers, Message, Question, Receive, Scope, Send

PATH: Final = "/metrics"
_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NO_ROUTE: Final = "none"
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Measured:
    """Times every request of the application, and answers `GET /metrics`."""

    def __init__(self, app: Front, facts: FactCache) -> None:
        self._app = app
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "grantbook_http_request_seconds",
            "Time from the request to the end of its answer.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_Facts(facts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == PATH and scope["method"] == "GET":
            await Response(generate_latest(self._registry), media_type=_TYPE)(scope, receive, send)
            return
        question: Question | None = scope.get(QUESTION)
        begun, status = perf_counter() if question is None else question.begun, 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._seconds.labels(_method(scope), _route(scope), str(status)).observe(perf_counter() - begun)

    def begin(self, method: str, target: bytes, headers: Headers) -> Question | None:
        """As `Front`."""
        question: Question | None = self._app.begin(method, target, headers)
        if question is not None:
            question.begun = perf_counter()
        return question

    def finish(self, question: Question, body: bytes) -> bytes | None:
        """As `Front`."""
        answer = self._app.finish(question, body)
        if answer is not None:
            self._seconds.labels(question.method, question.route, "200").observe(perf_counter() - question.begun)
        return answer


def _route(scope: Scope) -> str:
    """The template of the route that was found: never the address itself, which anybody can make up."""
    found: str | None = scope.get(ROUTE)
    return found or getattr(scope.get("route"), "path", None) or _NO_ROUTE


def _method(scope: Scope) -> str:
    return scope["method"] if _route(scope) != _NO_ROUTE else _NO_ROUTE


class _Facts(Collector):
    def __init__(self, facts: FactCache) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """The numbers of the moment; read without the cache's lock, since none of them decides anything."""
        facts = self._facts
        gauges: dict[str, tuple[str, Any]] = {
            "grantbook_cache_organizations": ("Organizations of which facts are held.", facts.held_organizations),
            "grantbook_cache_young_bytes": ("About how much was touched since the last rotation.", facts.spent_bytes),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        yield CounterMetricFamily("grantbook_cache_loads", "Questions for which facts were loaded.", value=facts.loads)
        yield CounterMetricFamily(
            "grantbook_cache_rotations", "How often what was not touched for long made room.", value=facts.rotations
        )
