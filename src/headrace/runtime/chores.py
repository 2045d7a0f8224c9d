"""The periodic work of the system itself: free the jobs of the dead, delete what is past its time."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

from headrace.core.errors import HeadraceError, StoreMoved
from headrace.core.model import Reaped, WorkerId
from headrace.ports.store import Store
from headrace.ports.vacuum import LAGGARD_S, Vacuumed

logger = logging.getLogger(__name__)

PRUNE_BATCH = 500
PRUNE_PAUSE_S = 0.2
PRUNE_EVERY_S = 60.0
WATCH_EVERY_S = 75.0  # jitter included, each laggard is named at most once a minute


class Sleeper(Protocol):
    """The part of a Clock that chores need."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


async def reap_once(store: Store, dead: tuple[WorkerId, ...] = ()) -> Reaped:
    """Reap, and say in the log what was freed."""
    reaped = await store.reap(dead)
    if reaped.workers:
        logger.log(
            logging.WARNING if reaped.jobs else logging.DEBUG,
            "freed %d jobs of dead workers %s (%d are suspects, %d quarantined)",
            len(reaped.jobs),
            ", ".join(reaped.workers),
            reaped.suspects,
            reaped.quarantined,
        )
    return reaped


async def prune_forever(store: Store, clock: Sleeper, spread: Callable[[], float]) -> None:
    """Delete what is past its retention, in small bites; `spread` gives a factor around 1 (jitter)."""
    while True:
        await clock.sleep(PRUNE_EVERY_S * spread())
        await quietly(lambda: _prune(store, clock), "prune")


async def watch_forever(store: Vacuumed, clock: Sleeper, spread: Callable[[], float]) -> None:
    """Warn of whatever holds the store's vacuum back, one line for each."""
    while True:
        await clock.sleep(WATCH_EVERY_S * spread())
        await safely(lambda: _watch(store), "watch")


def upkeep(store: Store, clock: Sleeper, spread: Callable[[], float]) -> Sequence[Coroutine[None, None, None]]:
    """The chores of this store that never end, to be made tasks of."""
    chores = [prune_forever(store, clock, spread)]
    if isinstance(store, Vacuumed):
        chores.append(watch_forever(store, clock, spread))
    return chores


async def quietly(work: Callable[[], Awaitable[object]], name: str) -> None:
    """Do it; a store that is away or busy is the next round's matter.

    Raises:
        StoreMoved: there will be no next round.
    """
    try:
        await work()
    except StoreMoved:
        raise
    except HeadraceError as error:
        logger.warning("chore %s: %s", name, error)


async def safely(work: Callable[[], Awaitable[object]], name: str) -> None:
    """As `quietly`; and a fault of ours in one round does not end the rounds."""
    try:
        await quietly(work, name)
    except StoreMoved:
        raise
    except Exception:
        logger.exception("%s failed; going on", name)


async def _prune(store: Store, clock: Sleeper) -> None:
    while await store.prune(PRUNE_BATCH) >= PRUNE_BATCH:
        await clock.sleep(PRUNE_PAUSE_S)


async def _watch(store: Vacuumed) -> None:
    for laggard in await store.laggards(LAGGARD_S):
        logger.warning("deleted rows cannot be cleared away because of %s; to end it: %s", laggard, laggard.remedy)
