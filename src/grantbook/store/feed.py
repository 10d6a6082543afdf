"""What is heard of changes in PostgreSQL, and how far that can be relied on.

Every commit notifies the channel of the organization and its new revision; PostgreSQL hands notifications to every
listening connection in the order of the commits. A committed change is acknowledged to its writer only after the
listening processes were signalled, and they send what they were signalled of before they answer a query. So whatever
was acknowledged before a query on the listening connection was sent, has been heard when its answer is there. The feed
asks such a query several times a second: what it heard is complete as of the last one that was answered.

Nothing is taken to be current for longer than `staleness_s` after that query was sent. A connection that is cut, stands
still, or was missed because this process stood still, therefore ends in "not known", never in an answer of before; and
after a new connection everything counts as changed, as it does every half minute: a distributed database may lose a
notification whose writer was told that the commit failed. With a staleness of 0 nothing is relied on, nor listened to.
"""

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from threading import Lock, Thread
from typing import Any, Final

import psycopg
from psycopg.pq import ExecStatus

from grantbook.store.forks import Process

CHANNEL: Final = "grantbook"
_LISTEN: Final = f"LISTEN {CHANNEL}".encode()
_HEARTBEAT: Final = (
    "SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END, pg_backend_pid(),"
    f" '{CHANNEL}' IN (SELECT pg_listening_channels())"
).encode()
_BEATS: Final = 4
"""So many heartbeats within the staleness: one may come late."""
_MAX_MOVED: Final = 100_000
_RETRY_S: Final = 0.2
_RELIED_ON_S: Final = 30
_log = logging.getLogger(__name__)


def now_s() -> float:
    """Seconds that pass also while the machine sleeps, where the system counts those."""
    return time.clock_gettime(_CLOCK)


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Feed:
    """Follows the changes in a thread of its own, from the first question on."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], staleness_s: float) -> None:
        self._connect = connect
        self._staleness_s = staleness_s
        self._good_until = 0.0
        self._position: tuple[str, float] | None = None
        self._version = 0
        self._floor = 0
        self._since = 0  # what was heard up to here may be of a database that another has taken the place of
        self._moved: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._process = Process()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._is_closing = False
        self._wake_reader, self._wake_writer = os.pipe()

    def version(self) -> int:
        """Another number whenever something was heard; and each time while it is not known what there is to hear.
        Raises ConfigurationError in a forked process."""
        if now_s() < self._good_until:
            return self._version
        self._process.require()
        with self._lock:
            if self._thread is None and self._staleness_s and not self._is_closing:
                self._thread = Thread(target=self._follow, name="grantbook-feed", daemon=True)
                self._thread.start()
            return self._forget()

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:
        """Whether the organization may have a revision after this one, as far as was heard.

        What was heard of and could not be read yet counts until it can: a distributed database tells of a commit
        before every machine shows it.
        """
        since = self._since  # first: the floor was raised before it
        if version < self._floor:
            return True
        moved = self._moved.get(organization_id)
        return moved is not None and moved[0] > since and moved[1] > revision

    def revision(self, organization_id: str) -> int:
        """The newest that was heard or noted of; 0 where there was none."""
        return self._moved.get(organization_id, (0, 0))[1]

    def position(self) -> tuple[str, float] | None:
        """A position in the log of the primary, and until when a replica that has reached it is not too old."""
        if not now_s() < self._good_until:
            self.version()  # begins to follow, where that was not done yet
            return None
        return self._position

    def note(self, organization_id: str, revision: int) -> None:
        """A commit that was heard of, or one of this process itself, which does not wait to be told.

        They come in any order: an older one, told late, does not hide a newer one.
        """
        with self._lock:
            heard, newest = self._moved.get(organization_id, (0, 0))
            self._moved[organization_id] = (self._version + 1, max(revision, newest if heard > self._since else 0))
            self._moved.move_to_end(organization_id)
            if len(self._moved) > _MAX_MOVED:
                _, (version, _) = self._moved.popitem(last=False)
                self._floor = max(self._floor, version)
            self._version += 1  # last: whoever sees it sees the rest

    def give_up(self) -> None:
        """In a forked process, which the thread is not in."""
        self._lock, self._thread, self._good_until = Lock(), None, 0.0

    def close(self) -> None:
        """End the thread and its connection."""
        with self._lock:
            self._is_closing = True
            thread = self._thread
        if thread is not None:
            os.write(self._wake_writer, b"x")
            thread.join()
        os.close(self._wake_writer)
        os.close(self._wake_reader)

    def _forget(self) -> int:
        """Nothing of before says anything any more. With the lock."""
        self._version += 1
        self._floor = self._version
        return self._version

    def _follow(self) -> None:
        while not self._is_closing:
            try:
                with closing(self._connect()) as connection, DefaultSelector() as selector:
                    for readable in (connection.pgconn.socket, self._wake_reader):
                        selector.register(readable, EVENT_READ)
                    self._listen(connection.pgconn, selector)
            except Exception as error:  # whatever it is: without this thread nothing would be known ever again
                _log.warning("the feed of changes is interrupted: %s", type(error).__name__)
            self._pause()

    def _pause(self) -> None:
        with DefaultSelector() as selector:
            selector.register(self._wake_reader, EVENT_READ)
            selector.select(_RETRY_S)

    def _listen(self, protocol: Any, selector: BaseSelector) -> None:
        """Until it is closed. Raises psycopg.OperationalError where something is not answered in time."""
        forgotten = now_s()
        self._answers(protocol, selector, _LISTEN)
        with self._lock:
            self._forget()
            self._since = self._version
        backend: bytes | None = None
        while not self._is_closing:
            asked = now_s()
            answers = self._answers(protocol, selector, _HEARTBEAT)
            if self._is_closing:
                return
            position, backend = _beat_in(answers, backend)
            self._good_until = asked + self._staleness_s
            self._position = position, self._good_until
            if asked - forgotten > _RELIED_ON_S:
                forgotten = asked
                with self._lock:
                    self._forget()
            self._listen_until(protocol, selector, now_s() + self._staleness_s / _BEATS)

    def _answers(self, protocol: Any, selector: BaseSelector, query: bytes) -> list[Any]:
        """To the query, after everything that was heard before them; none where the feed is closed meanwhile."""
        protocol.send_query(query)
        until = now_s() + max(2 * self._staleness_s, 1.0)
        found: list[Any] = []
        while not self._is_closing:
            is_ready = bool(selector.select(max(0.0, until - now_s())))
            protocol.consume_input()
            self._hear(protocol)
            while not protocol.is_busy():  # else taking a result would wait
                answer = protocol.get_result()
                self._hear(protocol)
                if answer is None:
                    return found
                found.append(answer)
            if not is_ready:
                raise psycopg.OperationalError("the database did not answer the feed")
        return []

    def _listen_until(self, protocol: Any, selector: BaseSelector, until: float) -> None:
        while not self._is_closing and (left_s := until - now_s()) > 0:
            if selector.select(left_s):
                protocol.consume_input()
                self._hear(protocol)

    def _hear(self, protocol: Any) -> None:
        while (notification := protocol.notifies()) is not None:
            organization_id, _, revision = notification.extra.decode().rpartition(" ")
            with suppress(ValueError):
                self.note(organization_id, int(revision))


def _beat_in(answers: Sequence[Any], backend: bytes | None) -> tuple[str, bytes]:
    """The position that a heartbeat tells, and the process that answered.

    Raises psycopg.OperationalError where that is not a primary, or not the process that listens: behind a pooler of
    transactions notifications go to somebody else.
    """
    if [each.status for each in answers] != [ExecStatus.TUPLES_OK]:
        raise psycopg.OperationalError("the heartbeat failed")
    is_replica, position, process, listens = (answers[0].get_value(0, column) for column in range(4))
    if is_replica != b"f":
        raise psycopg.OperationalError("the database is not a primary")
    if listens != b"t" or backend not in (None, process):
        raise psycopg.OperationalError("a pooler between the server and the database does not keep sessions")
    return position.decode(), process
