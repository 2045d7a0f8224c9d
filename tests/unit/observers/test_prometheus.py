"""The text that Prometheus reads: it parses, says what the store and the tally say, and is bounded."""

import re
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from headrace.core.breaker import CallCounts
from headrace.core.fleet import BreakerState
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.model import ClaimedJob, Exchanged, QueueRecord, SettleResult, Succeeded, WorkerRecord
from headrace.core.states import JobState
from headrace.observers.prometheus import Look, folded, text
from headrace.observers.tally import LABELS_MAX, OTHER, Tally
from headrace.ports.notifier import Health
from headrace.ports.observer import CALL_BOUNDS_S, Called, Moment, Spooled

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "metrics.md"


def queue(name: str, *, paused: bool = False, oldest_s: float | None = None, **counts: int) -> QueueRecord:
    return QueueRecord(name, paused, {JobState(state): n for state, n in counts.items()}, oldest_s)


def worker(role: str, *, alive: bool = True, draining: bool = False, running: int = 0) -> WorkerRecord:
    return WorkerRecord("w", "h", 1, role, "1", None, {}, 10, 0.0, alive=alive, draining=draining, running=running)


def parsed(data: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(data.decode())}


def values(family: Metric, *labels: str) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in family.samples}


def told(*queues: QueueRecord, workers: tuple[WorkerRecord, ...] = (), tally: Tally | None = None) -> dict[str, Metric]:
    return parsed(text("1.2", Look(folded(queues), workers), tally or Tally(lambda: 0.0), Moment()))


def busy() -> Tally:
    tally = Tally(lambda: 0.3)
    job = ClaimedJob(b"0" * 16, 1, "charge", "mail", "{}", 1, 0, 0, 0, 1, 60.0, None, (), "", 1, waited_s=0.02)
    tally.attempt_ended(job, Succeeded(), 0.0, lost=False)
    tally.exchanged(Exchanged((SettleResult.SETTLED,), (job,)), 0.29)
    tally.worker_crashed("worker")
    tally.called("bank", Called(succeeded=2, refused=1, spread=[2, *[0] * len(CALL_BOUNDS_S)], total_s=0.002))
    return tally


BANK = UpstreamRecord(
    "bank", BreakerState.HALF_OPEN, 3, "down", 0.0, None, None, CallCounts(), CallCounts(), 0, 0, 1, (), 1
)
MOMENT = Moment(
    {"sse": 2, "websocket": 0},
    {("sse", "slow"): 1},
    7,
    {"worker": 0.5},
    Spooled(4096, 3, 12, 1),
    notifier=Health("redis", working=True, echo_s=0.0006),
)


def test_queues() -> None:
    families = told(queue("a", ready=3, failed=1, oldest_s=1.5), queue('b"\\\n', paused=True))
    jobs = values(families["headrace_jobs"], "queue", "state")
    assert jobs["a", "ready"] == 3
    assert jobs["a", "failed"] == 1
    assert {state for name, state in jobs if name == "a"} == {state.value for state in JobState}
    assert values(families["headrace_queue_oldest_ready_seconds"], "queue") == {("a",): 1.5, ('b"\\\n',): 0}
    assert values(families["headrace_queue_paused"], "queue") == {("a",): 0, ('b"\\\n',): 1}


def test_workers_by_role_and_state() -> None:
    some = (worker("worker", running=4), worker("worker", draining=True, running=2), worker("embedded", alive=False))
    families = told(workers=some)
    counts = values(families["headrace_workers"], "role", "state")
    assert {key for key, count in counts.items() if count} == {
        ("worker", "alive"),
        ("worker", "draining"),
        ("embedded", "lost"),
    }
    assert counts["suspects", "alive"] == 0  # also what is not there can be asked for
    assert values(families["headrace_worker_slots"], "role")["worker",] == 10
    assert values(families["headrace_worker_running"], "role")["worker",] == 6


def test_what_was_counted() -> None:
    families = told(tally=busy())
    attempts = values(families["headrace_attempts"], "task", "outcome")
    assert attempts["charge", "succeeded"] == 1
    assert attempts["charge", "failed"] == 0  # so that its first rise is seen as one
    samples = families["headrace_attempt_seconds"].samples
    buckets = {each.labels["le"]: each.value for each in samples if each.name.endswith("_bucket")}
    assert (buckets["0.25"], buckets["0.5"], buckets["+Inf"]) == (0, 1, 1)
    assert {each.name: each.value for each in samples if "le" not in each.labels} == {
        "headrace_attempt_seconds_count": 1,
        "headrace_attempt_seconds_sum": 0.3,
    }
    assert values(families["headrace_settles"], "result") == {("settled",): 1, ("repeated",): 0, ("lost",): 0}
    assert values(families["headrace_worker_crashes"], "role") == {("worker",): 1, ("suspects",): 0}


def test_upstreams() -> None:
    families = parsed(text("1", Look({}, (), (BANK,)), busy(), Moment()))
    states = values(families["headrace_upstream_state"], "upstream", "state")
    assert {key for key, value in states.items() if value} == {("bank", "half_open")}
    assert {state for _, state in states} == {state.value for state in BreakerState}
    assert values(families["headrace_upstream_transitions"], "upstream") == {("bank",): 2}  # open, half open
    calls = values(families["headrace_upstream_calls"], "upstream", "outcome")
    assert calls == {("bank", "succeeded"): 2, ("bank", "refused"): 1, ("bank", "failed"): 0, ("bank", "ignored"): 0}
    samples = families["headrace_upstream_call_seconds"].samples
    assert {each.labels["le"]: each.value for each in samples if each.name.endswith("_bucket")}["0.005"] == 2


def test_names_follow_the_conventions() -> None:
    for name, family in parsed(text("1", Look(folded([queue("a")]), (), (BANK,)), busy(), MOMENT)).items():
        assert re.fullmatch(r"headrace_[a-z_]+", name)
        assert family.documentation.endswith(".")
        assert (family.type == "histogram") <= name.endswith("_seconds")
        assert not re.search(r"_(ms|s|milliseconds|total)$", name)
        totals = {sample.name for sample in family.samples if sample.name.endswith("_total")}
        assert (family.type == "counter") == bool(totals) or not family.samples


def test_a_notifier_is_shown_as_far_as_it_is_known() -> None:
    def shown(health: Health) -> dict[str, float]:
        families = parsed(text("1", None, busy(), Moment(notifier=health)))
        return {name: one.samples[0].value for name, one in families.items() if "notifier" in name}

    assert shown(Health("local", working=None)) == {}
    assert shown(Health("nats", working=False, trouble="it is away")) == {"headrace_notifier_working": 0}
    assert shown(Health("nats", working=True, echo_s=0.5)) == {
        "headrace_notifier_working": 1,
        "headrace_notifier_echo_seconds": 0.5,
    }


def test_a_store_that_does_not_answer_leaves_what_was_counted() -> None:
    families = parsed(text("1", None, busy(), Moment()))
    assert families["headrace_store_up"].samples[0].value == 0
    assert "headrace_jobs" not in families
    assert values(families["headrace_attempts"], "task", "outcome")["charge", "succeeded"] == 1


def test_the_queues_beyond_the_bound_are_one() -> None:
    many = [queue(f"q{n:05}", ready=1, oldest_s=float(n), paused=n % 2 == 0) for n in reversed(range(1_000))]
    families = told(*many)
    oldest = values(families["headrace_queue_oldest_ready_seconds"], "queue")
    assert list(oldest) == [*((f"q{n:05}",) for n in range(LABELS_MAX)), (OTHER,)]
    assert oldest[OTHER,] == 999
    assert values(families["headrace_jobs"], "queue", "state")[OTHER, "ready"] == 1_000 - LABELS_MAX
    assert values(families["headrace_queue_paused"], "queue")[OTHER,] == (1_000 - LABELS_MAX) / 2


def test_a_queue_that_is_called_like_the_rest_is_counted_with_it() -> None:
    names = [OTHER, *(f"z{n}" for n in range(LABELS_MAX))]
    jobs = values(told(*(queue(name, ready=1) for name in names))["headrace_jobs"], "queue", "state")
    assert jobs[OTHER, "ready"] == 2


def test_the_worst_case_is_bounded() -> None:
    tally = Tally(lambda: 0.0)
    for n in range(1_000):
        job = ClaimedJob(b"0" * 16, 1, f"t{n}", f"q{n}", "{}", 1, 0, 0, 0, 1, 60.0, None, (), "", 1, waited_s=0.02)
        tally.attempt_ended(job, Succeeded(), 0.0, lost=False)
        tally.exchanged(Exchanged((), (job,)), 0.0)
    body = text("1", Look(folded([queue(f"q{n}") for n in range(10_000)]), ()), tally, MOMENT)
    assert body.count(b"\n") < 12_500


@pytest.mark.parametrize("line", re.findall(r"^\| `(headrace_\w+)` .*$", PAGE.read_text("utf-8"), re.MULTILINE))
def test_the_page_names_no_metric_that_there_is_not(line: str) -> None:
    families = parsed(text("1", Look(folded([queue("a")]), (), (BANK,)), busy(), MOMENT))
    assert line.removesuffix("_total") in families


def test_the_page_has_every_metric_with_its_type_and_labels() -> None:
    page = PAGE.read_text("utf-8")
    rows = {
        name: (kind, labels)
        for name, kind, labels in re.findall(r"^\| `(headrace_\w+)` \| (\w+) \|([^|]*)\|", page, re.MULTILINE)
    }
    tally = busy()
    tally.enqueued([], [])
    for name, family in parsed(text("1", Look(folded([queue("a")]), (), (BANK,)), tally, MOMENT)).items():
        shown = f"{name}_total" if family.type == "counter" else name
        kind, labels = rows[shown]
        assert kind == family.type, name
        told_labels = set(re.findall(r"`(\w+)`", labels))
        assert all(set(sample.labels) - {"le"} == told_labels for sample in family.samples), name
