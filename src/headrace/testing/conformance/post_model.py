# ruff: noqa: D102 - the names of the rules describe them
"""Any store's post against the memory store's: the same calls, in any order, give the same answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from headrace.core.errors import LeaseLost
from headrace.core.event import Event
from headrace.core.message import Mark, digest_of
from headrace.core.model import ClaimedJob, Lease, NewJob, Settle, Succeeded
from headrace.core.relay_events import Refusal
from headrace.ports.post import Arrival, Intake, Letter, Promise
from headrace.ports.store import StoreSettings
from headrace.stores.memory import MemoryStore
from headrace.testing.conformance.store_base import FullStore, MakeStore, ManualTime, new_job, register, request

SETTINGS = StoreSettings(retention_s=300.0, result_retention_s=200.0, key_retention_s=100.0)
WORKER = "worker-1"
SOURCES, PARTS, SINKS, CHORES, DOERS = ("kafka:a", "rabbitmq:b"), ("0", "1"), ("kafka", "nats"), ("x", "y"), ("1", "2")
ALL_BYTES = 1 << 30
Answer = TypeVar("Answer")
MessageSpec: TypeAlias = tuple[int | None, bool, tuple[str, ...]]  # digest, letter, promises
EventSpec: TypeAlias = tuple[int, str, str | None, int]  # id, sink, key, bytes
messages = st.lists(
    st.tuples(st.none() | st.integers(0, 5), st.booleans(), st.sampled_from([(), (), ("p",), ("p", "q")])), max_size=4
)
published = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(SINKS), st.sampled_from([None, "k", "l"]), st.integers(0, 40)),
    max_size=4,
)
picks = st.lists(st.integers(0, 5), max_size=3)


class PostModelConformance:
    """Random walks over every verb of the post; the clock must be manual, so that both stores see one time."""

    walks = 20  # how many; more for a long run

    @pytest.fixture
    def time(self) -> ManualTime:
        """The clock of both stores."""
        return ManualTime()

    @pytest.fixture
    def make_fresh_store(self) -> MakeStore:
        """A function from settings to a store that is not open yet, on a new place at each call."""
        pytest.fail("give a fixture `make_fresh_store`")

    @pytest.mark.timeout(300)
    def test_its_post_answers_as_that_of_the_memory_store(self, make_fresh_store: MakeStore, time: ManualTime) -> None:
        class Walk(PostWalk):
            def __init__(self) -> None:
                super().__init__(make_fresh_store(SETTINGS), time)

        run_state_machine_as_test(
            Walk,
            settings=settings(
                max_examples=self.walks,
                stateful_step_count=30,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
            ),
        )


class PostWalk(RuleBasedStateMachine):
    """One walk: `both` makes a call on the store and on the memory store, and compares."""

    def __init__(self, store: FullStore, time: ManualTime) -> None:
        """Both stores open, with one worker."""
        super().__init__()
        self.runner = asyncio.Runner()
        self.time = time
        self.store = store
        self.memory: FullStore = MemoryStore(SETTINGS, wall=time.wall)
        self.jobs: list[NewJob] = []
        self.claims: list[ClaimedJob] = []
        self.both(lambda store: store.open())
        self.both(lambda store: register(store, WORKER, 100_000.0))

    def both(self, call: Callable[[FullStore], Awaitable[Answer]]) -> Answer | None:
        """The answer of both, which must be equal; None for a lost lease on both."""

        async def ask(store: FullStore) -> Answer | type[LeaseLost]:
            try:
                return await call(store)
            except LeaseLost:
                return LeaseLost

        async def ask_both() -> tuple[Any, Any]:
            return await ask(self.memory), await ask(self.store)

        expected, got = self.runner.run(ask_both())
        assert got == expected
        return None if expected is LeaseLost else expected

    def teardown(self) -> None:
        """Let go."""
        self.runner.run(self.store.close())
        self.runner.close()

    # -- messages in --------------------------------------------------------------------------

    @rule(
        source=st.sampled_from(SOURCES),
        specs=messages,
        marks=st.dictionaries(st.sampled_from(PARTS), st.tuples(st.booleans(), st.integers(0, 3)), max_size=2),
        again=st.booleans(),
    )
    def receive(
        self, source: str, specs: list[MessageSpec], marks: dict[str, tuple[bool, int]], *, again: bool
    ) -> None:
        """Bookmarks are known, or thought to stand at some low place."""
        stand = self.runner.run(self.memory.bookmarks(source))
        moves: dict[str, Mark] = {}
        for part, (knows, count) in marks.items():
            known = (stand[part].next if part in stand else None) if knows else count
            moves[part] = Mark(known, (known or 0) + count, 1_000 * count)
        arrivals = [self.arrival(source, *spec) for spec in specs]
        intake = Intake(arrivals, moves)
        self.both(lambda store: store.receive(source, intake))
        if again:
            self.both(lambda store: store.receive(source, intake))

    def arrival(self, source: str, digest: int | None, letter: bool, promises: tuple[str, ...]) -> Arrival:
        """One message."""
        job = new_job(promises=promises)
        self.jobs.append(job)
        kept = Letter(source, "why é", None, "{}", "0:1", 9, b"\x00body") if letter else None
        return Arrival(job, None if digest is None else digest_of(str(digest)), kept)

    @rule(source=st.sampled_from(SOURCES), part=st.sampled_from(PARTS), place=st.none() | st.integers(0, 5))
    def put_bookmark(self, source: str, part: str, place: int | None) -> None:
        self.both(lambda store: store.put_bookmark(source, part, place))

    @rule(source=st.sampled_from(SOURCES), older_s=st.sampled_from([-1.0, 30.0]))
    def forget_seen(self, source: str, older_s: float) -> None:
        self.both(lambda store: store.forget_seen(source, older_s, 100))

    # -- events out ---------------------------------------------------------------------------

    @rule(specs=published, once=st.booleans(), guard=st.none() | st.integers(0, 3))
    def publish(self, specs: list[EventSpec], guard: int | None, *, once: bool) -> None:
        events = [
            Event(digest_of(str(number)), sink, "to", key, body=b"\x00" * size) for number, sink, key, size in specs
        ]
        lease = None
        if guard is not None and self.claims:
            job = self.claims[-1 - guard % len(self.claims)]
            lease = Lease(job.id, job.fence)
        self.both(lambda store: store.publish(events, lease, once=once))

    @rule(sink=st.sampled_from(SINKS), done=picks, refused=picks, parked=st.booleans())
    def sent(self, sink: str, done: list[int], refused: list[int], *, parked: bool) -> None:
        async def settle(store: FullStore) -> None:
            places = [out.place for out in (await store.outgoing(sink, 0, 100, ALL_BYTES)).events]
            gone = some(places, done)
            left = [place for place in some(places, refused) if place not in gone]
            await store.sent(sink, gone, [Refusal(place, "no", parked=parked) for place in dict.fromkeys(left)])

        self.both(settle)

    @rule(sink=st.sampled_from(SINKS), chosen=st.none() | picks, drop=st.booleans())
    def unpark_or_drop(self, sink: str, chosen: list[int] | None, *, drop: bool) -> None:
        async def decide(store: FullStore) -> int:
            places = [parked.place for parked in await store.parked(sink, 0, 100)]
            these = None if chosen is None else list(dict.fromkeys(some(places, chosen)))
            if drop and these is not None:
                return await store.drop(sink, these)
            return await store.unpark(sink, these)

        self.both(decide)

    @rule(
        sink=st.sampled_from(SINKS),
        limit=st.integers(1, 4),
        bytes_max=st.sampled_from([0, 40, ALL_BYTES]),
        without=st.sampled_from([(), ("k",), ("k", "l")]),
        skip=st.integers(0, 3),
    )
    def read(self, sink: str, limit: int, bytes_max: int, without: Sequence[str], skip: int) -> None:
        async def page(store: FullStore) -> Any:
            places = [out.place for out in (await store.outgoing(sink, 0, 100, ALL_BYTES)).events]
            after = places[skip] if skip < len(places) else 0
            found = await store.outgoing(sink, after, limit, bytes_max, without)
            return [(out.event, out.failures) for out in found.events], found.more

        self.both(page)

    # -- jobs, promises, chores -----------------------------------------------------------------

    @rule(cancels=picks)
    def work(self, cancels: list[int]) -> None:
        """Claim everything, let what was claimed before succeed, and cancel some."""
        settles = [Settle(job.id, job.fence, Succeeded("1")) for job in self.claims[-4:]]

        async def exchange(store: FullStore) -> Any:
            answer = await store.exchange(WORKER, settles, request(3))
            return answer.settled, [replace(job, waited_s=None) for job in answer.claimed]

        answer = self.both(exchange)
        self.claims += [] if answer is None else answer[1]
        ids = [job.id for job in some(self.jobs, cancels)]
        self.both(lambda store: store.cancel(ids))

    @rule(chosen=picks, tells=st.booleans(), limit=st.integers(1, 5))
    def keep(self, chosen: list[int], limit: int, *, tells: bool) -> None:
        async def keep(store: FullStore) -> Any:
            page = await store.promised(None, limit)
            kept = [
                (promise, Event(digest_of(promise.name), "nats", "to") if tells else None)
                for promise in dict.fromkeys(some(page.ended, chosen))
            ]
            rest: Promise | None = page.next_after
            return page, await store.keep_promises(kept), None if rest is None else await store.promised(rest, limit)

        self.both(keep)

    @rule(name=st.sampled_from(CHORES), doer=st.sampled_from(DOERS), lease_s=st.sampled_from([5.0, 50.0, None]))
    def take_or_leave(self, name: str, doer: str, lease_s: float | None) -> None:
        if lease_s is None:
            self.both(lambda store: store.leave_chore(name, doer))
        else:
            self.both(lambda store: store.take_chore(name, doer, lease_s))

    @rule(seconds=st.sampled_from([1.0, 20.0, 400.0, 700_000.0]), pruning=st.booleans())
    def let_time_pass(self, seconds: float, *, pruning: bool) -> None:
        async def prune(store: FullStore) -> None:
            while await store.prune(1_000):
                pass

        self.time.clock.advance(seconds)
        if pruning:
            self.both(prune)

    # -- what must be equal after every step ----------------------------------------------------

    @invariant()
    def look(self) -> None:
        """Records, letters, bookmarks, outboxes, promises."""
        ids = [job.id for job in self.jobs[-6:]]

        async def look(store: FullStore) -> Any:
            return [
                [None if record is None else record.state for record in await store.get(ids)],
                [await store.letter(job) for job in ids],
                [replace(each, taken_age_s=None) for each in await store.sources()],
                [await store.bookmarks(source) for source in SOURCES],
                [replace(sink, age_s=rounded(sink.age_s)) for sink in await store.sinks()],
                [
                    [(out.event, out.failures) for out in (await store.outgoing(sink, 0, 100, ALL_BYTES)).events]
                    for sink in SINKS
                ],
                [
                    [
                        (each.event, each.failures, each.why, rounded(each.age_s))
                        for each in await store.parked(sink, 0, 9)
                    ]
                    for sink in SINKS
                ],
                await store.promised(None, 100),
            ]

        self.both(look)


def some(things: Sequence[Answer], chosen: Sequence[int]) -> list[Answer]:
    """Things by drawn numbers."""
    return [things[pick % len(things)] for pick in chosen] if things else []


def rounded(seconds: float | None) -> float | None:
    """To the millisecond."""
    return None if seconds is None else round(seconds, 3)
