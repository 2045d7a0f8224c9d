"""The ledger: what was promised, counted from outside. Pure: evidence in, figures out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from proof.evidence import ENDED, Evidence, JobRow, Line
from proof.feeds import feed_fault
from proof.rerun import Rerun, measure


@dataclass(slots=True)
class Ledger:
    """The figures of one run. Those under `PROMISES` must be 0."""

    attempted: int = 0
    acknowledged: int = 0
    cut_off: int = 0
    ended: int = 0
    succeeded: int = 0
    crashed: int = 0
    failed_otherwise: int = 0
    lost: int = 0
    stuck: int = 0
    doubled: int = 0
    effects_extra: int = 0
    effects_without_success: int = 0
    successes_without_effect: int = 0
    enqueued_twice: int = 0
    half_placed: int = 0
    fences_wrong: int = 0
    fences_reused: int = 0
    fences_fallen: int = 0
    fences_late: int = 0
    overlaps: int = 0
    attempts: int = 0
    repeated: int = 0
    torn_lines: int = 0
    foreign_crashes: int = 0
    feeds: int = 0
    feed_updates: int = 0
    feed_connections: int = 0
    gaps: int = 0
    rerun: Rerun = field(default_factory=Rerun)
    faults: dict[str, int] = field(default_factory=dict[str, int])
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


PROMISES: Final[Mapping[str, str]] = {
    "lost": "an acknowledged job reaches an end",
    "stuck": "a job whose customer got no answer reaches an end too",
    "doubled": "a success and its effect land once and together",
    "enqueued_twice": "a repeated request makes no second job",
    "half_placed": "an enqueue with using= lands with its transaction or not at all",
    "fences_wrong": "a fence is raised by every claim, and never reused or lowered",
    "overlaps": "a live attempt is not run a second time",
    "gaps": "a reader of a feed sees every update once, in order, to the end",
    "torn_lines": "the lines that the ledger is counted from are whole",
}
EXAMPLES_MAX: Final = 5


def violated(ledger: Ledger) -> list[str]:
    """The promises that were broken, by name and in words."""
    return [f"{name}: {getattr(ledger, name)} ({words})" for name, words in PROMISES.items() if getattr(ledger, name)]


def compute(evidence: Evidence) -> Ledger:
    """Count."""
    ledger = Ledger(attempted=len(evidence.attempted), acknowledged=len(evidence.acknowledged))
    ledger.faults = dict(Counter(fault.kind for fault in evidence.faults))
    ledger.cut_off = sum(fault.in_flight for fault in evidence.faults)
    ledger.torn_lines = evidence.torn
    ledger.foreign_crashes = evidence.foreign_crashes
    _ends(evidence, ledger)
    _effects(evidence, ledger)
    _enqueues(evidence, ledger)
    _attempts(evidence, ledger)
    _feeds(evidence, ledger)
    ledger.rerun = measure(evidence.lines, evidence.faults)
    return ledger


def _note(ledger: Ledger, name: str, found: Iterable[str]) -> int:
    """Keep a few examples under a name; how many there are."""
    listed = list(found)
    if listed:
        ledger.examples[name] = listed[:EXAMPLES_MAX]
    return len(listed)


def _ends(evidence: Evidence, ledger: Ledger) -> None:
    """Ended is what the database and the public API both call so; each acknowledged job that is not, is lost."""
    lost: list[str] = []
    for purchase, job in evidence.acknowledged.items():
        row = evidence.jobs.get(job)
        shown = evidence.shown.get(job)
        if row is None or row.state not in ENDED or shown != row.state:
            lost.append(f"{job} ({purchase}): {row.state if row else 'unknown'}, the API says {shown or 'unknown'}")
            continue
        ledger.ended += 1
        ledger.succeeded += row.state == "succeeded"
        ledger.crashed += row.cause == "crashed"
        ledger.failed_otherwise += row.state != "succeeded" and row.cause != "crashed"
    ledger.lost = _note(ledger, "lost", lost)
    known = set(evidence.acknowledged.values())
    stuck = [f"{job}: {row.state}" for job, row in evidence.jobs.items() if row.state not in ENDED and job not in known]
    ledger.stuck = _note(ledger, "stuck", stuck)


def _effects(evidence: Evidence, ledger: Ledger) -> None:
    fences: dict[str, list[int]] = defaultdict(list)
    for effect in evidence.effects:
        fences[effect.job].append(effect.fence)
    extra = [f"{job}: {found}" for job, found in fences.items() if len(found) > 1]
    alone = [f"{job}: {_state(evidence.jobs, job)}" for job in fences if _state(evidence.jobs, job) != "succeeded"]
    bare = [job for job, row in evidence.jobs.items() if row.state == "succeeded" and job not in fences]
    ledger.effects_extra = _note(ledger, "effects_extra", extra)
    ledger.effects_without_success = _note(ledger, "effects_without_success", alone)
    ledger.successes_without_effect = _note(ledger, "successes_without_effect", bare)
    ledger.doubled = ledger.effects_extra + ledger.effects_without_success + ledger.successes_without_effect
    other = [
        f"{job}: effect of fence {found}, success of fence {evidence.jobs[job].fence}"
        for job, found in fences.items()
        if job in evidence.jobs and evidence.jobs[job].fence not in found
    ]
    ledger.fences_wrong += _note(ledger, "effect_of_another_fence", other)


def _state(jobs: Mapping[str, JobRow], job: str) -> str:
    row = jobs.get(job)
    return "unknown" if row is None else row.state


def _enqueues(evidence: Evidence, ledger: Ledger) -> None:
    per_purchase = Counter(row.purchase for row in evidence.jobs.values())
    twice = [f"{purchase}: {count} jobs" for purchase, count in per_purchase.items() if count > 1]
    ledger.enqueued_twice = _note(ledger, "enqueued_twice", twice) + evidence.conflicting
    half = evidence.placing & per_purchase.keys() ^ evidence.placed
    ledger.half_placed = _note(ledger, "half_placed", sorted(half))


def _attempts(evidence: Evidence, ledger: Ledger) -> None:
    starts: dict[str, list[Line]] = defaultdict(list)
    ends: dict[tuple[str, int], Line] = {}
    for line in evidence.lines:
        if line.word == "start":
            starts[line.job].append(line)
        else:
            ends[line.job, line.fence] = line
    ledger.attempts = sum(map(len, starts.values()))
    ledger.repeated = ledger.attempts - len(starts)
    stops = _stops(evidence)
    reused: list[str] = []
    fallen: list[str] = []
    overlaps: list[str] = []
    for job, lines in starts.items():
        for n, line in enumerate(lines):
            earlier = lines[:n]
            if any(each.fence == line.fence for each in earlier):
                reused.append(f"{job}: fence {line.fence}")
            elif any(each.fence > line.fence for each in earlier):
                if _was_stopped(stops, line.pid, earlier[-1].at, line.at):
                    ledger.fences_late += 1
                else:
                    fallen.append(f"{job}: fence {line.fence} after {earlier[-1].fence}")
            for each in earlier:
                end = ends.get((job, each.fence))
                if end and end.at > line.at > each.at and not _was_stopped(stops, each.pid, each.at, line.at):
                    overlaps.append(
                        f"{job}: fence {line.fence} started {end.at - line.at:.3f} s before {each.fence} ended"
                    )
    ledger.fences_reused = _note(ledger, "fences_reused", reused)
    ledger.fences_fallen = _note(ledger, "fences_fallen", fallen)
    ledger.fences_wrong += ledger.fences_reused + ledger.fences_fallen
    ledger.overlaps = _note(ledger, "overlaps", overlaps)


def _stops(evidence: Evidence) -> Mapping[int, Sequence[tuple[float, float]]]:
    """When each process that was stopped stood still."""
    stops: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for fault in evidence.faults:
        if fault.kind.startswith("stop_"):
            for pid in fault.pids:
                stops[pid].append((fault.at, fault.until))
    return stops


def _was_stopped(stops: Mapping[int, Sequence[tuple[float, float]]], pid: int, begin: float, end: float) -> bool:
    return any(at < end and until > begin for at, until in stops.get(pid, ()))


def _feeds(evidence: Evidence, ledger: Ledger) -> None:
    wrong: list[str] = []
    for feed in evidence.feeds:
        ledger.feed_updates += len(feed.seen)
        ledger.feed_connections += feed.connections
        fault = feed_fault(feed, evidence.jobs.get(feed.job))
        if fault is not None:
            wrong.append(f"{feed.job} ({feed.by}): {fault}")
    ledger.feeds = len(evidence.feeds)
    ledger.gaps = _note(ledger, "gaps", wrong)


def combined(ledgers: Sequence[Ledger]) -> Ledger:
    """The sum of several runs, one per store."""
    whole = Ledger()
    for each in ledgers:
        for item in fields(Ledger):
            mine, theirs = getattr(whole, item.name), getattr(each, item.name)
            match theirs:
                case int():
                    setattr(whole, item.name, mine + theirs)
                case Rerun():
                    mine.extend(theirs)
                case _ if item.name == "faults":
                    whole.faults = dict(Counter(mine) + Counter(theirs))
                case _:
                    mine.update(theirs)
    return whole
