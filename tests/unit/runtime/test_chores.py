"""Chores that never end: which a store has, and what the watch of its vacuum says."""

import asyncio
from typing import Any

import pytest

from headrace.core.errors import StoreUnavailable
from headrace.ports.vacuum import Laggard
from headrace.runtime.chores import WATCH_EVERY_S, upkeep, watch_forever
from headrace.stores.memory import MemoryStore
from headrace.testing import ManualClock

SESSION = Laggard("session 42 (psql of bob, idle in transaction)", 75.0, 1200, "SELECT pg_terminate_backend(42)")
SLOT = Laggard("physical replication slot gone, which nobody uses", None, 5, "SELECT pg_drop_replication_slot('gone')")


class Watched(MemoryStore):
    """A memory store with a vacuum of which it tells one answer after the other."""

    def __init__(self, *answers: list[Laggard] | Exception) -> None:
        super().__init__(wall=lambda: 0.0)
        self.answers = list(answers)

    async def laggards(self, older_than_s: float) -> list[Laggard]:
        assert older_than_s == 60.0
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def turns(clock: ManualClock, seconds: float) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    clock.advance(seconds)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_laggard_is_named_with_what_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    clock, away = ManualClock(), StoreUnavailable("it is away")
    store = Watched([SESSION, SLOT], away, ValueError("ours"), [SESSION], [])
    watch = asyncio.ensure_future(watch_forever(store, clock, lambda: 1.0))
    await turns(clock, WATCH_EVERY_S - 1)
    assert caplog.messages == []
    await turns(clock, 1)
    assert [message.removeprefix("deleted rows cannot be cleared away because of ") for message in caplog.messages] == [
        f"{SESSION}; to end it: SELECT pg_terminate_backend(42)",
        f"{SLOT}; to end it: SELECT pg_drop_replication_slot('gone')",
    ]
    assert str(SESSION) == f"{SESSION.name}, begun 75 s ago, 1200 transactions behind"
    assert str(SLOT) == f"{SLOT.name}, 5 transactions behind"
    for _ in range(4):  # neither a store that is away nor a fault of ours ends the watch
        await turns(clock, WATCH_EVERY_S)
    assert store.answers == []
    assert sum("session 42" in message for message in caplog.messages) == 2
    watch.cancel()


def test_the_least_pause_is_a_minute() -> None:
    assert WATCH_EVERY_S * 0.8 >= 60.0


@pytest.mark.parametrize(
    ("store", "count"), [(MemoryStore(wall=lambda: 0.0), 1), (Watched(), 2)], ids=["without", "with"]
)
def test_only_a_store_with_a_vacuum_is_watched(store: Any, count: int) -> None:
    chores = upkeep(store, ManualClock(), lambda: 1.0)
    assert len(chores) == count
    for chore in chores:
        chore.close()
