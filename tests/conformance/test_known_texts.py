"""What a process knows of the texts of records is bounded, however many write at once."""

from threading import Thread

from grantbook.store.port import ToldText
from grantbook.store.texts import KnownTexts


class _Interrupted(set[ToldText]):
    """Whoever asks for its length is overtaken by another, if nothing keeps that one waiting."""

    def __init__(self, texts: set[ToldText], other: Thread) -> None:
        super().__init__(texts)
        self._other = other

    def __len__(self) -> int:
        self._other.start()
        self._other.join(timeout=0.2)
        return super().__len__()


def _texts(many: int) -> set[ToldText]:
    return {ToldText("id", f"usr_{number}", "") for number in range(many)}


def test_two_writers_at_the_same_moment_are_both_counted() -> None:
    known = KnownTexts(most=100)
    other = Thread(target=known.keep, args=("org_2", "hash", set(), _texts(60)))
    known.keep("org_1", "hash", set(), _Interrupted(_texts(60), other))
    other.join()
    assert not known.known_at("org_1", "hash")
    assert not known.known_at("org_2", "hash")
