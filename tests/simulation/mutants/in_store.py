# ruff: noqa: E501 - an edit shows whole lines
"""Safeguards of the store, removed from the one that the simulator runs on."""

from tests.simulation.mutants.edits import edit
from tests.simulation.mutants.kinds import CRASHES, ZOMBIES, busy_people, limited, lost_answers, ordered, sim

MEMORY = "stores.memory.store:MemoryStore"
BOARD = "stores.memory.board:Board"
ROW = "stores.memory.rows:Row"
LIMITS = "stores.memory.limits:Limits"

MUTANTS = (
    sim(
        "a claimed job leaves its lane",
        "A job that runs is offered to nobody else.",
        edit(f"{BOARD}.claim", ("self._leave(row)\n", "pass\n")),
        bound=30, breaks=("one attempt at a time",),
    ),
    sim(
        "only ended leases are reaped",
        "The jobs of a worker whose lease holds are left to it.",
        edit(f"{MEMORY}.reap", ("w.lease_ends_at <= now", "w.lease_ends_at <= now + 0.9 * self._settings.lease_s")),
        bound=30, breaks=("only the dead lose their jobs",),
    ),
    sim(
        "an item is kept with its offset",
        "A feed's end and the update that raises it are written together.",
        edit(f"{ROW}.keep", ("self.kept.append(", "self.offset % 5 and self.kept.append(")),
        bound=30, breaks=("feeds are whole, in order, and end",),
    ),
    sim(
        "suspects are claimed apart",
        "A claim for other jobs takes no suspects.",
        edit(f"{BOARD}.lanes", ("suspect in request.suspicion", "True")),
        bound=30, breaks=("quarantine hits poison, not its neighbours",),
    ),
    sim(
        "a keyed item is written once",
        "An item with a key that the feed has is not added again.",
        edit(f"{MEMORY}._append", ("write.key is not None and write.key in row.emitted", "False")),
        befalls=lost_answers, bound=30, breaks=("items are kept, from who holds the job",),
    ),
    sim(
        "a job waits until it is due",
        "Only what is due is promoted.",
        edit(f"{BOARD}.promote", ("self.next_due_at() <= now", "self.next_due_at() < float('inf')")),
        bound=30, breaks=("nothing runs before it is due",),
    ),
    sim(
        "a claim raises the fence",
        "Every claim raises the job's fence.",
        edit(f"{ROW}.start", ("self.fence += 1", "self.fence = 1"), ("if self.fence == 1:", "if self.first_claimed_at is None:")),
        bound=30, breaks=("one attempt at a time",),
    ),
    sim(
        "a delayed retry waits",
        "Back-off and snoozes keep a job from being claimed for so long.",
        edit(f"{BOARD}.end_attempt", ("now + verdict.delay_s, now", "now, now")),
        bound=30, breaks=("nothing runs before it is due",),
    ),
    sim(
        "a crash makes a suspect",
        "What a dead worker ran, runs apart from its neighbours.",
        edit("core.outcomes:judge_crash", ("suspect=Suspicion(suspect + 1)", "suspect=suspect")),
        worlds=CRASHES, bound=76, breaks=("quarantine hits poison, not its neighbours",),
    ),
    sim(
        "only who ran alone is quarantined",
        "A crash beside others accuses nobody: most of the jobs that a worker held are innocent.",
        edit("core.outcomes:judge_crash", ("if suspect is not Suspicion.ALONE:", "if suspect is Suspicion.NONE:"), ("counted >= crashes_max", "counted >= 1")),
        worlds=CRASHES, bound=76, breaks=("quarantine hits poison, not its neighbours",),
    ),
    sim(
        "a key has one job",
        "A second enqueue of a live key lands on the job that holds it.",
        edit(f"{MEMORY}._landing", ("if job.key is None:", "if True:")),
        bound=30, breaks=("a key has one holder",),
    ),
    sim(
        "an append asks for a running job",
        "Nothing is added to the feed of a job that has ended.",
        edit(f"{MEMORY}._append", (" or row.state is not JobState.RUNNING", "")),
        bound=30, breaks=("items are kept, from who holds the job",),
    ),
    sim(
        "a repeated settle is known",
        "A settle whose answer was lost is sent again and answered as repeated, not as lost.",
        edit(f"{MEMORY}._settle", ("if row.settled_fence == settle.fence:", "if False:")),
        befalls=lost_answers, bound=30, breaks=("an outcome is written once, by who holds the job",),
    ),
    sim(
        "a cancelled job leaves its lane",
        "A waiting job that was cancelled is not claimed any more.",
        edit(f"{BOARD}.cancel", ("self._leave(row)\n", "pass\n")),
        befalls=busy_people, bound=48, breaks=("cancelled stays cancelled",),
    ),
    sim(
        "a suspect's crash is counted",
        "A job that kills its worker again and again is counted towards quarantine.",
        edit("core.outcomes:judge_crash", ("delay_s, crashes=1, suspect=suspect", "delay_s, crashes=0, suspect=suspect")),
        worlds=CRASHES, bound=88, breaks=("attempts are counted right",),
    ),
    sim(
        "quarantine has a bound",
        "A job that has killed its worker too often is not started again.",
        edit("core.outcomes:judge_crash", ("counted >= crashes_max", "counted >= 1_000_000")),
        worlds=CRASHES, bound=88, breaks=("quarantine hits poison, not its neighbours",),
    ),
    sim(
        "an id is enqueued once",
        "An enqueue that is sent again after a lost answer adds nothing.",
        edit(f"{MEMORY}.enqueue", ("board.rows.get(at), False", "None, False")),
        bound=36, breaks=("a key has one holder",),
    ),
    sim(
        "an ended lease stays ended",
        "A lease that has ended is not renewed: others may have its jobs already.",
        edit(f"{MEMORY}.renew", (" or known.lease_ends_at <= now", "")),
        worlds=ZOMBIES, bound=76, breaks=("leases last as long as they were given",),
    ),
    sim(
        "a give-back takes no attempt",
        "A job that was given back before it started is not one attempt older.",
        edit("core.outcomes:judge", ("attempt=0 if started else -1", "attempt=0")),
        bound=44, breaks=("attempts are counted right",),
    ),
    sim(
        "a cancelled job does not wait again",
        "A job that somebody asked to cancel ends as cancelled instead of waiting again.",
        edit("core.outcomes:_unless", ("JobEvent.CANCEL if cancelling else event", "event")),
        worlds=CRASHES, befalls=busy_people, bound=116, breaks=("cancelled stays cancelled",),
    ),
    sim(
        "a claim counts what runs",
        "A claim of a task with a limit leaves what would be one too many.",
        edit(f"{LIMITS}.hold", ("add(job)", "discard(job)")),
        worlds=limited, bound=60, breaks=("limits hold over all workers",),
    ),
    sim(
        "a rate remembers its starts",
        "A claim of a task with a rate moves on when the next may start.",
        edit(f"{LIMITS}.keep", ("self._rates.update(rates)", "pass")),
        worlds=limited, bound=60, breaks=("limits hold over all workers",),
    ),
    sim(
        "a turn lasts as long as its job",
        "In an ordered lane nobody else starts while a job that has begun waits for its next attempt.",
        edit(f"{BOARD}._lives", ("not self.rows[job].state.terminal", "self.rows[job].state is JobState.RUNNING")),
        worlds=ordered, bound=120, breaks=("ordered jobs keep their order",),
    ),
    sim(
        "a turn is its job's, wherever that stands",
        "In an ordered lane a job that is ready again goes before those that came while it ran.",
        edit(
            f"{BOARD}._turn",
            ("if holder is not None:", "if holder is not None and self.rows[holder].state is not JobState.READY:"),
        ),
        worlds=ordered, bound=120, breaks=("ordered jobs keep their order",),
    ),
)  # fmt: skip
