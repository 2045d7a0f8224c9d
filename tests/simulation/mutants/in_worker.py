# ruff: noqa: E501 - an edit shows whole lines
"""Safeguards of the worker, its core and its shell."""

from headrace.testing.sim.scenario import FaultKind
from tests.simulation.mutants.edits import edit
from tests.simulation.mutants.kinds import lost_answers, sim, where_any

CORE = "core.worker:WorkerCore"
SHELL = "runtime.worker:Worker"

MUTANTS = (
    sim(
        "an awaited answer has a deadline",
        "An exchange without an answer is given up, and sent again.",
        edit(f"{CORE}.next_deadline", ("at = min(at, self._answer_by)", "pass")),
        edit(f"{CORE}.handle_timeout", ("now >= self._answer_by", "False")),
        worlds=where_any(FaultKind.HANGING), bound=320, breaks=("nothing leaks", "acknowledged jobs end"),
    ),
    sim(
        "a body starts once per fence",
        "A claimed job is started at most once.",
        edit(f"{CORE}._start", ("effects.append(Start(job, pool.name))", "effects += [Start(job, pool.name)] * 2")),
        bound=30, breaks=("one attempt at a time",),
    ),
    sim(
        "nothing begins past the worker's lease",
        "A process that was held up waits until its lease is renewed before it begins what it had claimed.",
        edit(f"{CORE}._turn", ("held = now < self._held_until", "held = True")),
        edit("runtime.attempt:Attempt._run", ("if may() else", "if True else")),
        edit(f"{CORE}._accept", (" and now < self._held_until", "")),
        worlds=where_any(FaultKind.LONG_PAUSE, FaultKind.FREEZE), bound=50, breaks=("nothing begins past its lease",),
    ),
    sim(
        "a slot is free when its body has ended",
        "The end of a body makes room for the next.",
        edit("core.worker_pools:Appetite.ended", ("pool.running -= 1", "pool.running -= pool.ended % 5 > 0")),
        bound=30, breaks=("nothing leaks",),
    ),
    sim(
        "reconcile names what runs",
        "Running jobs are not given back by a reconcile.",
        edit(f"{CORE}._known", ("(*running, *waiting, *settling)", "(*waiting, *settling)")),
        befalls=lost_answers, bound=30, breaks=("attempts are counted right",),
    ),
    sim(
        "slots bound what runs",
        "No more bodies run than there are slots.",
        edit(f"{CORE}._accept", ("pool.running < pool.settings.slots and now", "now")),
        bound=66, breaks=("bodies fit their worker's slots",),
    ),
    sim(
        "settles of a failed exchange are sent again",
        "Outcomes are kept until the store has answered.",
        edit(f"{CORE}._failed", ("self._settles[:0] = settles", "pass")),
        befalls=lost_answers, bound=30, breaks=("attempts are counted right",),
    ),
    sim(
        "a slot is taken until its body has ended",
        "A body that was asked to stop and goes on keeps its slot.",
        edit(f"{CORE}._stop", ("effects.append(", "run.pool.running -= 1; effects.append(")),
        edit("core.worker_pools:Appetite.ended", ("pool.running -= 1", "pool.running = max(0, pool.running - 1)")),
        bound=44, breaks=("bodies fit their worker's slots",),
    ),
    sim(
        "reconcile names what is to be settled",
        "Jobs whose outcome is on its way are not given back by a reconcile.",
        edit(f"{CORE}._known", ("(*running, *waiting, *settling)", "(*running, *waiting)")),
        befalls=lost_answers, bound=44, breaks=("attempts are counted right",),
    ),
    sim(
        "polling",
        "A worker asks from time to time, whether or not a hint came.",
        edit(f"{CORE}.handle_timeout", ("self._appetite.wake()", "pass")),
        worlds=where_any(FaultKind.HINTS_DROPPED), bound=160, breaks=("acknowledged jobs end",),
    ),
    sim(
        "an instant that has come is acted on once",
        "A worker that drains does not wake again and again for a job that became due.",
        edit(f"{CORE}._promote", ("self._due_at = None", "pass")),
        bound=60, breaks=("no surprises",), slow=True,
    ),
    sim(
        "an unanswered promote is asked again",
        "A promote whose answer never came is asked for again: by the core, and by its shell that answers for the store.",
        edit(f"{CORE}._promote", ("or now >= self._promoted_by", "")),
        edit(f"{SHELL}._promote", ("self.post(Promoted(0, self._settings.poll_s))", "pass")),
        befalls=lost_answers, bound=30, breaks=("acknowledged jobs end",),
    ),
    sim(
        "due jobs are promoted",
        "A worker promotes when a job is due, and from time to time.",
        edit(f"{CORE}._promote", ("effects.append(Promote())", "pass")),
        bound=30, breaks=("acknowledged jobs end",),
    ),
)  # fmt: skip
