"""Tells the ends of jobs as events: at once those of this process's attempts, and by a sweep all others.

Invariant: what was promised is published once, in the transaction that removes the promise, under an id that follows
from the job; who tells it first does not matter.
"""

import asyncio
import json
import logging
import random
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from headrace.core.errors import HeadraceError, PayloadTooLarge
from headrace.core.event import JSON_TYPE, CloudEvent, Event, stable_id
from headrace.core.model import (
    Cancelled,
    ClaimedJob,
    Failed,
    JobId,
    JobRecord,
    Outcome,
    Settle,
    SettleResult,
    Succeeded,
)
from headrace.core.states import JobState
from headrace.core.wire import instant
from headrace.ports.clock import Clock
from headrace.ports.post import Post, Promise
from headrace.ports.store import Store
from headrace.runtime.publishing import Prepared

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.02
BATCH_MAX: Final = 500
BACKLOG_MAX: Final = 50_000  # ended jobs that wait to be told here; beyond, the sweep finds them
SWEEP_S: Final = 2.0
LEASE_S: Final = 10.0
PAGE: Final = 1_000
CHORE: Final = "promises"
_ENDS: Final = (Succeeded, Failed, Cancelled)


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """Which ends are told, and to whom: an event for an outbox, or a receiver that is given it."""

    name: str
    states: frozenset[JobState]
    with_result: bool
    event: Callable[[Prepared], Event] | None
    take: Callable[[Prepared], Awaitable[None]] | None = None


def told(record: JobRecord, source: str, *, with_result: bool, bytes_max: int) -> Prepared:
    """The end of a job as a CloudEvent; a result that makes it too large is left out, and that is said."""
    job = uuid.UUID(bytes=record.id)
    event_id = uuid.UUID(bytes=stable_id(record.id, f"end {record.offset}"))
    data = _data(record, job)
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    if with_result and record.result is not None:
        result = record.result.encode()
        if len(body) + len(result) < bytes_max:
            body = body[:-1] + b',"result":' + result + b"}"
        else:
            body = body[:-1] + b',"result":null,"result_too_large":true}'
    cloud = CloudEvent(
        id=str(event_id),
        source=source,
        type=f"headrace.job.{record.state.value}",
        subject=str(job),
        time=None if record.finished_at is None else instant(record.finished_at),
        datacontenttype=JSON_TYPE,
        data=body,
    )
    return Prepared(event_id, body, JSON_TYPE, cloud)


def _data(record: JobRecord, job: uuid.UUID) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": str(job),
        "task": record.task,
        "queue": record.queue,
        "state": record.state.value,
        "attempts": record.attempt,
        "tags": list(record.tags),
        "created_at": instant(record.created_at),
        "finished_at": None if record.finished_at is None else instant(record.finished_at),
    }
    if record.failure is not None and record.state is JobState.FAILED:
        failure = record.failure
        data["failure"] = {"type": failure.type, "message": failure.message, "cause": failure.cause.value}
    return data


class Ends:
    """What a worker knows of its own attempts' ends, until they are in the store."""

    def __init__(self, tasks: frozenset[str], tell: Callable[[JobId], None]) -> None:
        """`tasks` have ends that are told; `tell` hears of each that is in the store."""
        self._tasks = tasks
        self._tell = tell
        self._open: set[JobId] = set()

    def ended(self, job: ClaimedJob, outcome: Outcome | None, *, lost: bool) -> None:
        """A body has ended; None: it has settled itself."""
        if lost or job.task not in self._tasks:
            return
        if outcome is None:
            self._tell(job.id)
        elif isinstance(outcome, _ENDS):
            self._open.add(job.id)

    def settled(self, settles: Sequence[Settle], results: Sequence[SettleResult]) -> None:
        """These are in the store."""
        for settle, result in zip(settles, results, strict=True):
            if settle.id in self._open:
                self._open.discard(settle.id)
                if result is not SettleResult.LOST:
                    self._tell(settle.id)


class Promises:
    """One per process that runs workers; it lives on the loop of `running`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        rules: Mapping[str, OutcomeRule],
        *,
        source: str,
        bytes_max: int,
    ) -> None:
        """`rules` by their names; `source` and `bytes_max` are settings."""
        self._store = store
        self._clock = clock
        self._rng = rng
        self._rules = rules
        self._source = source
        self._bytes_max = bytes_max
        self._ended: dict[JobId, None] = {}
        self._news = asyncio.Event()
        self._runs = False
        self._warned: set[str] = set()

    @asynccontextmanager
    async def running(self, doer: str) -> AsyncGenerator[None]:
        """Tell ends for the length of an `async with`; the store knows this process as `doer`."""
        store = self._store
        if not self._rules or not isinstance(store, Post):
            yield
            return
        loop = asyncio.get_running_loop()
        self._runs = True
        tasks = [loop.create_task(self._tell_own(store)), loop.create_task(self._sweep_forever(store, doer))]
        try:
            yield
        finally:
            self._runs = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leave(store, doer)

    def tell(self, job: JobId) -> None:
        """This job has ended, and that is in the store; on the loop of `running`."""
        if self._runs and len(self._ended) < BACKLOG_MAX:
            self._ended[job] = None
            self._news.set()

    async def _leave(self, post: Post, doer: str) -> None:
        try:
            if self._ended:
                await self._keep_own(post)
            await post.leave_chore(CHORE, doer)
        except HeadraceError as error:
            logger.debug("outcomes: %s", error)

    # -- at once ------------------------------------------------------------------------------------

    async def _tell_own(self, post: Post) -> None:
        while True:
            await self._news.wait()
            await self._clock.sleep(GATHER_S)
            self._news.clear()
            try:
                while self._ended:
                    await self._keep_own(post)
            except HeadraceError as error:  # the sweep finds what is left
                logger.debug("outcomes: %s", error)
                self._ended.clear()
            except Exception:
                logger.exception("outcomes could not be told at once; the sweep tells them")
                self._ended.clear()

    async def _keep_own(self, post: Post) -> None:
        ended = list(self._ended)[:BATCH_MAX]
        for job in ended:
            del self._ended[job]
        # Receivers are told by the sweep alone, which knows that the promise was made.
        at_once = [name for name, rule in self._rules.items() if rule.take is None]
        await self._keep(post, [Promise(job, name) for job in ended for name in at_once])

    async def _keep(self, post: Post, promises: Sequence[Promise]) -> int:
        """Keep those of them that are known here; how many there were."""
        known = [promise for promise in promises if promise.name in self._rules]
        ids = list(dict.fromkeys(promise.job for promise in known))
        if not ids:
            return 0
        records = dict(zip(ids, await self._store.get(ids), strict=True))
        kept: list[tuple[Promise, Event | None]] = []
        for promise in known:
            record = records[promise.job]
            if record is None or record.state.terminal:  # else it was made ready again
                try:
                    kept.append((promise, await self._event(self._rules[promise.name], record)))
                except HeadraceError as error:  # the others are told all the same
                    self._warn(promise.name, error)
        return await post.keep_promises(kept)

    def _warn(self, rule: str, error: HeadraceError) -> None:
        if rule not in self._warned:
            self._warned.add(rule)
            logger.warning("outcomes: %s cannot be told now, and is tried again: %s", rule, error)

    async def _event(self, rule: OutcomeRule, record: JobRecord | None) -> Event | None:
        if record is None or record.state not in rule.states:
            return None
        prepared = told(record, self._source, with_result=rule.with_result, bytes_max=self._bytes_max)
        if rule.take is not None:
            try:
                await rule.take(prepared)
            except PayloadTooLarge:  # for the job that it becomes, in whose arguments it is a text
                await rule.take(told(record, self._source, with_result=rule.with_result, bytes_max=0))
        return None if rule.event is None else rule.event(prepared)

    # -- the others -----------------------------------------------------------------------------------

    async def _sweep_forever(self, post: Post, doer: str) -> None:
        while True:
            await self._clock.sleep(SWEEP_S * self._rng.uniform(0.75, 1.25))
            try:
                if await post.take_chore(CHORE, doer, LEASE_S) is not None:
                    await self._sweep(post, doer)
            except HeadraceError as error:
                logger.debug("outcomes: %s", error)
            except Exception:
                logger.exception("a sweep for outcomes failed; going on")

    async def _sweep(self, post: Post, doer: str) -> None:
        after: Promise | None = None
        while True:
            page = await post.promised(after, PAGE)
            await self._keep(post, page.ended)
            after = page.next_after
            if after is None or await post.take_chore(CHORE, doer, LEASE_S) is None:
                return
