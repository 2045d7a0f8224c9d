# ruff: noqa: D102 - the names of the rules describe them
"""Any store against the memory store: the same calls, in any order, give the same answers."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from headrace.core.errors import Conflict
from headrace.core.limits import TaskLimit
from headrace.core.model import (
    ClaimedJob,
    ClaimRequest,
    FeedWrite,
    JobId,
    Lease,
    NewJob,
    Outcome,
    Settle,
    Succeeded,
    Suspicion,
    UpdateKind,
)
from headrace.ports.store import StoreSettings
from headrace.stores.memory import MemoryStore
from headrace.testing.conformance.store_base import (
    FullStore,
    MakeStore,
    ManualTime,
    new_job,
    register,
    request,
)
from headrace.testing.conformance.store_looks import look_at
from headrace.testing.conformance.store_moves import IN_ORDER, LIMITS, OUTCOMES, SPECS, WORKERS, Limits, draw_move

SETTINGS = StoreSettings(
    retention_s=300.0,
    result_retention_s=200.0,
    key_retention_s=100.0,
    items_max=3,
    crashes_max=2,
    crash_backoff_s=10.0,
)
LEASE_S = 500.0
Answer = TypeVar("Answer")
places = st.one_of(st.integers(0, 3), st.integers(0, 3), st.integers(0, 10_000))  # mostly the newest
workers = st.sampled_from(WORKERS)
requests = st.builds(
    partial(request, 1000),
    st.sampled_from([["charge"], ["charge", "refund"], ["charge", "refund"]]),
    queues=st.sampled_from([None, None, ["billing"]]),
    suspects=st.sampled_from([False, True, None]),
)

Spec: TypeAlias = tuple[str, str, float, str | None, str, float | None, int]
job_specs = st.tuples(*(st.sampled_from(each) for each in SPECS))


@dataclass(frozen=True)
class _Refused:
    """A key led to a job with other arguments."""

    holder: JobId


class StoreModelConformance:
    """Random walks over every verb; the clock must be manual, so that both stores see one time."""

    walks = 25  # how many; more for a long run

    @pytest.fixture
    def time(self) -> ManualTime:
        """The clock of both stores."""
        return ManualTime()

    @pytest.fixture
    def make_fresh_store(self) -> MakeStore:
        """A function from settings to a store that is not open yet, on a new place at each call."""
        pytest.fail("give a fixture `make_fresh_store`")

    @pytest.mark.timeout(300)
    def test_it_answers_as_the_memory_store_does(self, make_fresh_store: MakeStore, time: ManualTime) -> None:
        class Walk(StoreWalk):
            def __init__(self) -> None:
                super().__init__(make_fresh_store(SETTINGS), time)

        run_state_machine_as_test(
            Walk,
            settings=settings(
                max_examples=self.walks,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
            ),
        )


class StoreWalk(RuleBasedStateMachine):
    """One walk: `both` makes a call on the store and on the memory store, and compares."""

    def __init__(self, store: FullStore, time: ManualTime) -> None:
        """Both stores open, two workers registered."""
        super().__init__()
        self.runner = asyncio.Runner()
        self.time = time
        self.store: FullStore = store
        self.memory: MemoryStore = MemoryStore(SETTINGS, wall=time.wall)
        self.jobs: list[NewJob] = []
        self.claims: list[ClaimedJob] = []
        self.paused: set[str] = set()
        self.both(lambda store: store.open())
        for worker in WORKERS:
            self.register_on_both(worker)

    def register_on_both(self, worker: str) -> None:
        """A live worker on both."""
        self.both(lambda store: register(store, worker, LEASE_S))

    def both(self, call: Callable[[FullStore], Awaitable[Answer]]) -> Answer | None:
        """The answer of both, which must be equal; None for a conflict on both."""

        async def ask(store: FullStore) -> Answer | _Refused:
            try:
                return await call(store)
            except Conflict as conflict:
                return _Refused(conflict.job_id)

        async def ask_both() -> tuple[Answer | _Refused, Answer | _Refused]:
            return await ask(self.memory), await ask(self.store)

        expected, got = self.runner.run(ask_both())
        assert got == expected
        return None if isinstance(expected, _Refused) else expected

    def some(self, things: Sequence[Any], picks: list[int]) -> list[Any]:
        """Things by drawn numbers, the newest for 0."""
        return [things[-1 - pick % len(things)] for pick in picks] if things else []

    def teardown(self) -> None:
        """Compare every feed once more, and let go."""
        try:
            self.look(everything=True)
        finally:
            self.runner.run(self.store.close())
            self.runner.close()

    # -- jobs ---------------------------------------------------------------------------------

    @initialize(worker=workers)
    def begin(self, worker: str) -> None:
        """Something to work on: a walk without any jobs, or without claims, would see little."""
        self.enqueue([("charge", "billing", 0.0, None, "", None, priority) for priority in (0, 5, 0)])
        self.enqueue([("refund", "mail", 0.0, "k", "d", None, 0), ("charge", "mail", 20.0, None, "", None, 0)])
        self.trade(worker, [], request(3))

    @rule(specs=st.lists(job_specs, min_size=1, max_size=4))
    def enqueue(self, specs: list[Spec]) -> None:
        jobs = [
            new_job(
                task, queue, delay_s=delay_s, key=key, key_digest=digest if key else "", deadline_s=deadline_s,
                priority=priority,
            )
            for task, queue, delay_s, key, digest, deadline_s, priority in specs
        ]  # fmt: skip
        self.jobs += jobs
        self.both(lambda store: store.enqueue(jobs))

    @precondition(lambda self: self.jobs)
    @rule(picks=st.lists(places, min_size=1, max_size=3))
    def enqueue_again(self, picks: list[int]) -> None:
        self.both(lambda store: store.enqueue(self.some(self.jobs, picks)))

    @rule(
        worker=workers,
        picks=st.lists(places, max_size=3),
        outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=3, max_size=3),
        wanted=st.none() | requests,
    )
    def exchange(self, worker: str, picks: list[int], outcomes: list[Outcome], wanted: ClaimRequest | None) -> None:
        held = self.some(self.at_hand(), picks)
        self.trade(
            worker, [Settle(job.id, job.fence, outcome) for job, outcome in zip(held, outcomes, strict=False)], wanted
        )

    @rule(worker=workers, queues=st.sampled_from([None, ["billing"]]))
    def claim_everything(self, worker: str, queues: list[str] | None) -> None:
        self.trade(worker, [], request(1000, queues=queues, suspects=None))

    @precondition(lambda self: self.claims)
    @rule(worker=workers, picks=st.lists(places, min_size=4, max_size=8), last=st.sampled_from(OUTCOMES))
    def settle_many(self, worker: str, picks: list[int], last: Outcome) -> None:
        *most, other = self.some(self.at_hand(), picks)
        settles = [Settle(job.id, job.fence, Succeeded('"done"')) for job in most]
        self.trade(worker, [*settles, Settle(other.id, other.fence, last)], None)

    @rule(
        worker=workers,
        task=st.sampled_from(["charge", "refund"]),
        queue=st.sampled_from(["billing", "mail"]),
        kind=st.sampled_from(Suspicion),
    )
    def claim_what_is_first(self, worker: str, task: str, queue: str, kind: Suspicion) -> None:
        """As many of one lane as share its highest priority: those, and no others."""
        board = self.memory._board  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        lane = [-minus for minus, _, _ in board.ready.get(((queue, task, ""), kind), ())]
        if lane:
            limit = lane.count(max(lane))
            self.trade(worker, [], replace(request(limit, [task], queues=[queue]), suspicion=(kind,)))

    @rule(
        worker=workers,
        task=st.sampled_from(["charge", "refund"]),
        queue=st.sampled_from(["billing", "mail"]),
        most=st.sampled_from([1, 3, 1000]),
        limits=st.sampled_from((*LIMITS, *IN_ORDER)),
        outcome=st.sampled_from(OUTCOMES),
        unlimited=st.booleans(),
    )
    def claim_under_limits(  # noqa: PLR0917 - what a rule draws
        self, worker: str, task: str, queue: str, most: int, limits: Limits, outcome: Outcome, *, unlimited: bool
    ) -> None:
        """Twice, with ends in between: of one lane, since to which a limit leaves its room is a store's own choice."""
        wanted = request(most, [task], queues=[queue])
        limited = replace(wanted, limits=(TaskLimit(task, *limits),))
        before = len(self.claims)
        self.trade(worker, [], limited)
        settles = [Settle(job.id, job.fence, outcome) for job in self.claims[before:][:2]]
        if unlimited:  # as by a worker that knows of no limits; what it claims does not count
            self.trade(worker, settles, wanted)
            settles = []
        self.trade(worker, settles, limited)

    @precondition(lambda self: self.former_claims())
    @rule(worker=workers, pick=places, outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4))
    def come_late(self, worker: str, pick: int, outcomes: list[Outcome]) -> None:
        """Writes under a fence that a later claim has raised."""
        late: ClaimedJob = self.some(self.former_claims(), [pick])[0]
        self.both(lambda store: store.append([FeedWrite(late.id, late.fence, UpdateKind.ITEM, '"late"', None)]))
        self.trade(worker, [Settle(late.id, late.fence, outcome) for outcome in outcomes], None)

    def at_hand(self) -> list[ClaimedJob]:
        """Every claim, those that still hold last: most writes are to be by a holder."""
        held = {
            (job_id, row.fence)
            for worker in self.memory._board.workers.values()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            for job_id, row in worker.running.items()
        }
        return sorted(self.claims, key=lambda job: (job.id, job.fence) in held)

    def former_claims(self) -> list[ClaimedJob]:
        """Those of jobs that were claimed again since."""
        latest = {job.id: job.fence for job in self.claims}
        return [job for job in self.claims if job.fence != latest[job.id]]

    def trade(self, worker: str, settles: list[Settle], wanted: ClaimRequest | None) -> None:
        """An exchange with both; what is claimed is remembered."""

        async def exchange(store: FullStore) -> Any:
            answer = await store.exchange(worker, settles, wanted)
            # In which order lanes are served, and what waits for the next claim, is a store's own choice; how long a
            # job waited is about true.
            claimed = [replace(job, waited_s=None) for job in answer.claimed]
            start_s = None if answer.next_start_s is None else round(answer.next_start_s, 3)
            in_order = tuple(sorted(claimed, key=lambda job: job.id))
            return replace(answer, claimed=in_order, next_start_s=start_s, again=False)

        answer = self.both(exchange)
        self.claims += answer.claimed if answer is not None else ()

    @precondition(lambda self: self.claims)
    @rule(
        picks=st.lists(places, min_size=1, max_size=4),
        kinds=st.lists(st.sampled_from([UpdateKind.ITEM, UpdateKind.LOG, UpdateKind.PROGRESS]), min_size=4, max_size=4),
        keys=st.lists(st.sampled_from([None, "a", "b"]), min_size=4, max_size=4),
    )
    def append(self, picks: list[int], kinds: list[UpdateKind], keys: list[str | None]) -> None:
        writes = [
            FeedWrite(job.id, job.fence, kind, '"x"', key if kind is UpdateKind.ITEM else None)
            for job, kind, key in zip(self.some(self.at_hand(), picks), kinds, keys, strict=False)
        ]
        self.both(lambda store: store.append(writes))

    @precondition(lambda self: self.jobs)
    @rule(picks=st.lists(places, min_size=1, max_size=3), verb=st.sampled_from(["cancel", "retry", "edit"]))
    def change(self, picks: list[int], verb: str) -> None:
        ids = [job.id for job in self.some(self.jobs, picks)]
        if verb == "cancel":
            self.both(lambda store: store.cancel(ids))
        elif verb == "retry":
            self.both(lambda store: store.retry(ids))
        else:
            self.both(lambda store: store.edit(ids[0], '["edited"]'))

    # -- workers and chores -------------------------------------------------------------------

    @precondition(lambda self: self.claims)
    @rule(worker=workers)
    def renew(self, worker: str) -> None:
        async def renew(store: FullStore) -> Any:
            answer = await store.renew(worker, LEASE_S)
            return set(answer.cancels), answer.lost

        self.both(renew)

    @rule(worker=workers, known=st.none() | st.lists(places, max_size=3), late=st.none() | places)
    def leave_or_reconcile(self, worker: str, known: list[int] | None, late: int | None) -> None:
        """Of what it names, `late` is under a fence that a later claim has raised."""
        if known is None:
            self.both(lambda store: store.unregister(worker))
            self.register_on_both(worker)
        else:
            jobs = self.some(self.at_hand(), known)
            jobs += [] if late is None else self.some(self.former_claims(), [late])
            held = [Lease(job.id, job.fence) for job in jobs]
            self.both(lambda store: store.reconcile(worker, held))

    @precondition(lambda self: self.claims)
    @rule(dead=st.lists(workers, max_size=2, unique=True), back=st.sampled_from([True, True, True, False]))
    def reap(self, dead: list[str], back: bool) -> None:
        async def reap(store: FullStore) -> Any:
            reaped = await store.reap(dead)
            return replace(reaped, workers=tuple(sorted(reaped.workers)), jobs=tuple(sorted(reaped.jobs)))

        self.both(reap)
        if back:
            for worker in WORKERS:
                self.register_on_both(worker)

    @rule(queue=st.sampled_from(["billing", "mail"]))
    def pause_or_resume(self, queue: str) -> None:
        self.paused ^= {queue}
        self.both(lambda store: store.pause(queue, paused=queue in self.paused))

    @rule(seconds=st.sampled_from([1.0, 20.0, 20.0, 110.0, 250.0, 600.0]), pruning=st.booleans())
    def let_time_pass(self, seconds: float, pruning: bool) -> None:
        async def prune(store: FullStore) -> None:
            while await store.prune(1000):
                pass

        self.time.clock.advance(seconds)
        self.both(lambda store: store.promote(1000))
        if pruning:
            self.both(prune)

    # -- moves drawn by a seed alone -----------------------------------------------------------

    @rule(seed=st.integers(0, 2**32 - 1))
    def stroll(self, seed: int) -> None:
        """Some moves in a row: Hypothesis likes to repeat itself, and so seldom comes far."""
        rng = random.Random(seed)  # noqa: S311 - to be repeatable
        for _ in range(5):
            self.move(rng)
            self.look()

    def move(self, rng: random.Random) -> None:
        """One rule, with arguments drawn by `rng`."""
        name, arguments = draw_move(rng)
        if name != "come_late" or self.former_claims():
            getattr(self, name)(**arguments)

    # -- what must be equal after every step ----------------------------------------------------

    @invariant()
    def look(self, *, everything: bool = False) -> None:
        """Records, ends of feeds, lists, queues, workers; with `everything` feeds and attempts too."""
        ids = [job.id for job in self.jobs]
        since = self.time.wall() - SETTINGS.retention_s
        self.both(partial(look_at, ids=ids, told=ids if everything else ids[-2:], since=since))
