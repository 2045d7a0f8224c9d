"""Enqueues that come at once are written together: at once if none is under way, else with the next.

There is no timer. A batch in which one caller's jobs are refused is written again in parts, so that
only that caller hears of it. Jobs with keys are gathered apart: they may have to wait for a
transaction of a user's that holds a key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from headrace.core.errors import HeadraceError, StoreUnavailable
from headrace.core.model import Enqueued, NewJob
from headrace.stores.postgres.faults import sqlstate

FLIGHTS: Final = 2  # at a time, of one event loop: one is written while the next is made ready
JOBS_MAX: Final = 1_000  # gathered into one
APART: Final = 4  # at a time, of a batch in which a key is held
_HELD: Final = "55P03"  # a lock was waited for in vain

_Waiting: TypeAlias = tuple[list[NewJob], "asyncio.Future[list[Enqueued]]"]


class _Here:
    """What waits on one loop."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.flights: set[asyncio.Task[None]] = set()


class Gatherer:
    """Gathers by event loop."""

    def __init__(self, write: Callable[[Sequence[NewJob]], Awaitable[list[Enqueued]]]) -> None:
        """`write` adds jobs, all or none."""
        self._write = write
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[_Here, _Here]] = WeakKeyDictionary()

    async def add(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs with whoever else does; cancelling this leaves them to be written."""
        loop = asyncio.get_running_loop()
        both = self._of.get(loop)
        if both is None:
            both = self._of[loop] = _Here(), _Here()
        here = both[any(job.key is not None for job in jobs)]
        answer: asyncio.Future[list[Enqueued]] = loop.create_future()
        here.waiting.append((list(jobs), answer))
        if len(here.flights) < FLIGHTS:
            flight = loop.create_task(self._fly(here))
            here.flights.add(flight)
            flight.add_done_callback(here.flights.discard)
        return await answer

    async def _fly(self, here: _Here) -> None:
        while here.waiting:
            load: list[_Waiting] = []
            count = 0
            while here.waiting and (not load or count + len(here.waiting[0][0]) <= JOBS_MAX):
                load.append(here.waiting.pop(0))
                count += len(load[-1][0])
            await self._write_all(load)

    async def _write_all(self, load: list[_Waiting]) -> None:
        try:
            answers = await self._write([job for jobs, _ in load for job in jobs])
        except StoreUnavailable as error:
            if len(load) > 1 and sqlstate(error) == _HELD:
                await self._write_apart(load)
            else:
                _fail(load, error)
        except HeadraceError as error:
            if len(load) == 1:
                _fail(load, error)
                return
            half = len(load) // 2
            await self._write_all(load[:half])
            await self._write_all(load[half:])
        except BaseException as error:
            _fail(load, StoreUnavailable(f"the enqueue was interrupted: {error!r}"))
            raise
        else:
            at = 0
            for jobs, answer in load:
                if not answer.done():
                    answer.set_result(answers[at : at + len(jobs)])
                at += len(jobs)

    async def _write_apart(self, load: list[_Waiting]) -> None:
        room = asyncio.Semaphore(APART)

        async def write(one: _Waiting) -> None:
            async with room:
                await self._write_all([one])

        await asyncio.gather(*(write(one) for one in load))


def _fail(load: list[_Waiting], error: HeadraceError) -> None:
    for _, answer in load:
        if not answer.done():
            answer.set_exception(error)
