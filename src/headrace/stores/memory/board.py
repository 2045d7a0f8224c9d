"""The jobs of the memory store and every move they make.

Invariant: `ready`, `due`, the workers' `running` and `ended` index each job by its state, and only
the methods here change a state.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from headrace.core.limits import Gate, turn_of
from headrace.core.model import (
    AttemptOutcome,
    ClaimRequest,
    Failure,
    GivenBack,
    JobId,
    Json,
    NewJob,
    Outcome,
    Pool,
    Succeeded,
    Suspicion,
)
from headrace.core.outcomes import Verdict, judge
from headrace.core.states import JobEvent, JobState, transition
from headrace.core.story import former_end, state_data
from headrace.ports.post import Letter, Promise
from headrace.ports.store import StoreSettings
from headrace.stores.memory.limits import Limits
from headrace.stores.memory.rows import Key, Row, Worker

Lane = tuple[str, str, str]  # queue, task, lane key
Place = tuple[int, int, JobId]  # minus the priority, seq, id


class Board:
    """Every job, key, queue and worker; not thread-safe by itself."""

    def __init__(self, settings: StoreSettings) -> None:
        """An empty board."""
        self.settings = settings
        self.rows: dict[JobId, Row] = {}
        self.ids: list[JobId] = []
        self.keys: dict[tuple[str, str], Key] = {}
        self.queues: dict[str, bool] = {}  # name -> paused
        self.upstreams: dict[str, Json] = {}  # name -> document
        self.workers: dict[str, Worker] = {}
        self.ready: dict[tuple[Lane, Suspicion], list[Place]] = {}  # by lane, suspects apart
        self.due: list[tuple[float, int, JobId]] = []  # a heap; entries of jobs that left stay until popped
        self.ended: dict[JobId, Row] = {}  # in the order in which they ended
        self.hints: set[str] = set()
        self.grown: set[JobId] = set()  # feeds to hint about
        self.limits = Limits(self._lives)
        self.letters: dict[JobId, Letter] = {}
        self.promises: list[Promise] = []  # sorted
        self._seq = count(1)
        self._served: dict[frozenset[str], tuple[Lane, Suspicion]] = {}  # by pool: the lane that was served last

    # -- moves --------------------------------------------------------------------------------

    def add(self, job: NewJob, now: float) -> Row:
        """A new job, ready or scheduled."""
        due_at = job.run_at if job.run_at is not None else now + job.delay_s
        deadlines = [] if job.deadline_at is None else [job.deadline_at]
        deadlines += [] if job.deadline_s is None else [now + job.deadline_s]
        later = due_at > now
        row = Row(
            job=replace(job),  # the caller may change theirs
            state=JobState.SCHEDULED if later else JobState.READY,
            created_at=now,
            first_due_at=due_at if later else None,
            deadline_at=min(deadlines, default=None),
        )
        self.rows[job.id] = row
        insort(self.ids, job.id)
        for name in dict.fromkeys(job.promises):
            insort(self.promises, Promise(job.id, name))
        self.queues.setdefault(job.queue, False)
        self._wait(row, row.state, due_at, now)
        return row

    def claim(self, worker: Worker, request: ClaimRequest, now: float) -> tuple[list[Row], bool, float | None]:
        """Start what the request takes, a fair share of every lane in turn; is there more, and what a rate waits."""
        claimed: list[Row] = []
        more, waits = False, list[float]()
        gate = self.limits.gate(request.limits, now)
        for pool in request.pools:
            limited = pool.limit if pool.limited is None else pool.limited
            for row, scope in self._choose(pool, request, gate, limited):
                self._leave(row)
                row.start(worker.record.id, now)
                worker.running[row.job.id] = row
                self.grown.add(row.job.id)
                claimed.append(row)
                if scope is not None:
                    self.limits.hold(scope, row.job.id)
                limited -= gate.limited(row.job.task)
            may_more = pool.limited is None or limited > 0
            for lane in self.lanes(pool, request):
                (_, task, key), _ = lane
                if gate.ordered(task) and self._turn(lane, gate) is None:
                    continue
                more = more or not gate.limited(task) or (may_more and gate.room(task, key) > 0)
                waits += [gate.next_start_s(task, key) or 0.0] if gate.limited(task) else []
        self.limits.keep(gate.rates)
        self.limits.take_turns(gate.turns)
        return claimed, more, min((wait_s for wait_s in waits if wait_s), default=None)

    def settle(self, row: Row, outcome: Outcome, now: float) -> None:
        """End a running attempt by its worker's own word."""
        verdict = judge(outcome, cancelling=row.cancelling)
        row.settled_fence = row.fence
        if isinstance(outcome, Succeeded):
            row.result = outcome.result
        self.end_attempt(row, verdict, now)

    def give_back(self, row: Row, now: float, *, started: bool) -> None:
        """End a running attempt that nobody settles."""
        self.end_attempt(row, judge(GivenBack(started), cancelling=row.cancelling), now)

    def end_attempt(self, row: Row, verdict: Verdict, now: float) -> None:
        """Carry a verdict out."""
        self._leave(row)
        if self.limits.let_go(row.job.id):  # another worker may wait for that
            self.hints.add(f"queue:{row.job.queue}")
        row.end_attempt(verdict.outcome, verdict.failure, now)
        if verdict.attempt < 0:
            row.attempts.pop()  # it never started
        row.attempt += verdict.attempt
        row.failures += verdict.failures
        row.crashes += verdict.crashes
        row.snoozes += verdict.snoozes
        if verdict.suspect is not None:
            row.suspect = verdict.suspect
        if verdict.failure is not None:
            row.failure = verdict.failure
        state = transition(row.state, verdict.event)
        if state.terminal:
            self._finish(row, state, now)
            return
        self._wait(row, state, now + verdict.delay_s, now)
        due_in_s = verdict.delay_s if state is JobState.SCHEDULED else None
        self._tell(row, now, verdict.outcome, failure=verdict.failure, due_in_s=due_in_s, reason=verdict.reason)

    def cancel(self, row: Row, now: float) -> None:
        """Cancel a waiting job, ask a running one to stop; an ended one stays as it is."""
        if row.state is JobState.RUNNING:
            row.cancelling = True
            self.hints.add("cancel")
        elif not row.state.terminal:
            self._leave(row)
            self._finish(row, transition(row.state, JobEvent.CANCEL), now)

    def revive(self, row: Row, now: float) -> None:
        """Make an ended job ready again, counters from 0."""
        state = transition(row.state, JobEvent.REVIVE)
        self._leave(row)
        row.kept.append(former_end(row.story(now, self.settings.result_retention_s)))
        row.failures = row.crashes = row.snoozes = 0
        row.failure = row.finished_at = None
        if row.deadline_at is not None and row.deadline_at <= now:
            row.deadline_at = None
        self._hold_key(row)
        self._wait(row, state, now, now)
        self._tell(row, now)

    def promote(self, limit: int, now: float) -> int:
        """Make due jobs ready, the longest due first."""
        promoted = 0
        while promoted < limit and self.next_due_at() <= now:
            _, _, job_id = heapq.heappop(self.due)
            row = self.rows[job_id]
            self._wait(row, transition(row.state, JobEvent.DUE), now, now)
            self._tell(row, now)
            promoted += 1
        return promoted

    def forget(self, row: Row) -> None:
        """Delete an ended job and all that is its own."""
        job = row.job
        self.letters.pop(job.id, None)
        first = bisect_left(self.promises, Promise(job.id, ""))
        while first < len(self.promises) and self.promises[first].job == job.id:
            del self.promises[first]
        del self.ended[job.id], self.rows[job.id], self.ids[bisect_left(self.ids, job.id)]
        key = self._key(row)
        if key is not None and job.key is not None:
            del self.keys[job.task, job.key]

    # -- questions ----------------------------------------------------------------------------

    def next_due_at(self) -> float:
        """When the next scheduled job is due; infinity: none is scheduled."""
        while self.due:
            due_at, seq, job_id = self.due[0]
            row = self.rows.get(job_id)
            if row is not None and row.state is JobState.SCHEDULED and row.seq == seq:
                return due_at
            heapq.heappop(self.due)
        return float("inf")

    def next_due_s(self, now: float) -> float | None:
        """How long until the next scheduled job is due; None: none is scheduled."""
        due_at = self.next_due_at()
        return None if due_at == float("inf") else max(0.0, due_at - now)

    def lanes(self, pool: Pool, request: ClaimRequest) -> list[tuple[Lane, Suspicion]]:
        """The non-empty lanes that the request takes and nothing holds, the next one to serve first."""
        lanes = sorted(
            (lane, suspect)
            for lane, suspect in self.ready
            if lane[1] in pool.tasks
            and (request.queues is None or lane[0] in request.queues)
            and suspect in request.suspicion
            and not self.queues[lane[0]]
        )
        served = self._served.get(pool.tasks)
        start = 0 if served is None else len([lane for lane in lanes if lane <= served])
        return lanes[start:] + lanes[:start]

    # -- indexes ------------------------------------------------------------------------------

    def _choose(self, pool: Pool, request: ClaimRequest, gate: Gate, limited: int) -> list[tuple[Row, str | None]]:
        """What is taken, each with the scope in which it takes a slot; at most `limited` of tasks with limits."""
        taken: dict[tuple[Lane, Suspicion], int] = {}
        turns: dict[tuple[Lane, Suspicion], JobId] = {}
        scopes: dict[Lane, str | None] = {}
        lanes, left = self.lanes(pool, request), pool.limit
        while left > 0 and lanes:
            share = max(1, left // len(lanes))
            for lane in list(lanes):
                (_, task, key), _ = lane
                had, most = taken.get(lane, 0), min(share, left)
                if gate.limited(task):
                    most = min(most, limited, gate.room(task, key))
                if gate.ordered(task) and most:
                    turn = self._turn(lane, gate)
                    most = 0
                    if turn is not None:
                        most, turns[lane], gate.turns[turn_of(task, key)] = 1, turn, turn
                size = min(most, len(self.ready[lane]) - had)
                if size:
                    taken[lane] = had + size
                    self._served[pool.tasks] = lane
                    if gate.limited(task):
                        scopes[lane[0]] = gate.start(task, key, size)
                        limited -= size
                if size < min(share, left) or had + size == len(self.ready[lane]):
                    lanes.remove(lane)
                left -= size
        return [
            (self.rows[job_id], scopes.get(lane[0]))
            for lane, size in taken.items()
            for job_id in ([turns[lane]] if lane in turns else [place[2] for place in self.ready[lane][:size]])
        ]

    def _turn(self, lane: tuple[Lane, Suspicion], gate: Gate) -> JobId | None:
        """The job whose turn it is in an ordered lane, if it is ready and such a suspect; None: nobody's here."""
        (_, task, key), _ = lane
        scope = turn_of(task, key)
        if scope in gate.turns:
            return None
        holder = self.limits.holder(scope)
        if holder is not None:
            row = self.rows[holder]
            return holder if row.state is JobState.READY and _lane(row) == lane else None
        first = min(self.ready[lane[0], kind][0] for kind in Suspicion if (lane[0], kind) in self.ready)
        return first[2] if lane in self.ready and self.ready[lane][0] == first else None

    def _lives(self, job: JobId) -> bool:
        return job in self.rows and not self.rows[job].state.terminal

    def _wait(self, row: Row, state: JobState, due_at: float, now: float) -> None:
        row.state, row.seq = state, next(self._seq)
        if state is JobState.SCHEDULED:
            row.due_at = due_at
            heapq.heappush(self.due, (due_at, row.seq, row.job.id))
        else:
            row.due_at, row.ready_at = None, now
            insort(self.ready.setdefault(_lane(row), []), _place(row))
            self.hints.add(f"queue:{row.job.queue}")

    def _leave(self, row: Row) -> None:
        match row.state:
            case JobState.READY:
                lane = self.ready[_lane(row)]
                del lane[bisect_left(lane, _place(row))]
                if not lane:
                    del self.ready[_lane(row)]
            case JobState.RUNNING:
                if row.worker in self.workers:
                    del self.workers[row.worker].running[row.job.id]
            case JobState.SCHEDULED:
                row.due_at = None  # its heap entry is dropped when it comes up
            case _:
                del self.ended[row.job.id]

    def _finish(self, row: Row, state: JobState, now: float) -> None:
        row.state, row.finished_at, row.cancelling = state, now, False
        row.offset += 1  # of the end, which the row tells
        if state is not JobState.FAILED:
            row.failure = None
        self.ended[row.job.id] = row
        self.grown.add(row.job.id)
        if self.limits.had_turn(row.job.task, row.job.lane_key, row.job.id):
            self.hints.add(f"queue:{row.job.queue}")
        key = self._key(row)
        if key is not None:
            key.expires_at = now + self.settings.key_retention_s

    def _key(self, row: Row) -> Key | None:
        """The key of this job, if it holds one."""
        key = None if row.job.key is None else self.keys.get((row.job.task, row.job.key))
        return key if key is not None and key.id == row.job.id else None

    def _hold_key(self, row: Row) -> None:
        """A revived job holds its key again, unless another job took it over meanwhile."""
        if row.job.key is None:
            return
        held = self.keys.get((row.job.task, row.job.key))
        if held is None or held.id == row.job.id:
            self.keys[row.job.task, row.job.key] = Key(row.job.id, row.job.key_digest)

    def _tell(
        self,
        row: Row,
        now: float,
        outcome: AttemptOutcome | None = None,
        *,
        failure: Failure | None = None,
        due_in_s: float | None = None,
        reason: str = "",
    ) -> None:
        data: Json = state_data(
            row.state, row.attempt, outcome=outcome, failure=failure, due_in_s=due_in_s, reason=reason
        )
        row.tell_state(now, data)
        self.grown.add(row.job.id)

    def take_hints(self) -> Iterable[str]:
        """The hints of the moves since the last call."""
        many = len(self.grown) > _JOB_HINTS_MAX
        hints = self.hints | ({"job:*"} if many else {f"job:{job_id.hex()}" for job_id in self.grown})
        self.hints, self.grown = set(), set()
        return hints


_JOB_HINTS_MAX = 100


def _lane(row: Row) -> tuple[Lane, Suspicion]:
    return (row.job.queue, row.job.task, row.job.lane_key), row.suspect


def _place(row: Row) -> Place:
    return -row.job.priority, row.seq, row.job.id
