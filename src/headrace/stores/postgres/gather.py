"""Enqueues that come at once are written together: at once if none is under way, else with the next.

There is no timer. A batch in which one caller's jobs are refused is written again in parts, so that
only that caller hears of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from headrace.core.errors import HeadraceError, StoreUnavailable
from headrace.core.model import Enqueued, NewJob

FLIGHTS: Final = 2  # at a time, of one event loop: one is written while the next is made ready
JOBS_MAX: Final = 1_000  # gathered into one

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
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = WeakKeyDictionary()

    async def add(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Add jobs with whoever else does; cancelling this leaves them to be written."""
        loop = asyncio.get_running_loop()
        here = self._of.get(loop)
        if here is None:
            here = self._of[loop] = _Here()
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


def _fail(load: list[_Waiting], error: HeadraceError) -> None:
    for _, answer in load:
        if not answer.done():
            answer.set_exception(error)
