"""The chaos ledger: thousands of jobs through every fault, on SQLite and on PostgreSQL, and that the ledger would see
what it looks for.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from proof.evidence import Effect, Evidence, Fault, Followed, JobRow, Line, Seen, read_lines, read_producers
from proof.ledger import PROMISES, combined, compute, violated
from proof.processes import ROOT, sessions
from proof.report import table, verdict
from proof.run import Report
from tests.effort import effort

JOBS = {"sqlite": effort(2_000, at_night=5_000), "postgres": 2_000}
RUN_S = 600  # it takes about 120 and 75 s; a busy machine gets more
FAULTS = {"kill_worker", "kill_tree", "stop_worker", "stop_tree", "kill_api", "restart_all", "disk_full"}
OF_A_SERVER = {"server_killed", "sessions_ended"}


def prove(json_path: Path, *words: str, seconds: float) -> dict[str, Any]:
    """What a run of its own says; the run must have kept every promise."""
    done = subprocess.run(
        [sys.executable, "-m", "proof", "--sim-seeds=0", f"--json={json_path}", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(json_path.read_text("utf-8"))
    return found


@pytest.mark.timeout(RUN_S + 30)
@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.nightly)])
def test_nothing_is_lost_or_doubled_whatever_is_done_to_it(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if store == "postgres":
        request.getfixturevalue("postgres")  # says whether there is a server
    jobs = JOBS[store]
    figures = prove(tmp_path / "ledger.json", f"--jobs={jobs}", f"--store={store}", seconds=RUN_S)
    assert figures["acknowledged"] >= jobs
    assert figures["ended"] == figures["acknowledged"] <= figures["attempted"]
    assert {name: figures[name] for name in PROMISES} == dict.fromkeys(PROMISES, 0)
    if store == "sqlite":  # elsewhere a lease may run out while its server takes no writes
        assert figures["foreign_crashes"] == 0
    assert figures["feeds"] > 100
    missing = FAULTS.union(() if store == "sqlite" else OF_A_SERVER) - figures["faults"].keys()
    assert missing <= {"disk_full"}, missing
    if "disk_full" in missing:
        assert os.environ.get("CI") != "true", figures["disk_full"]
    assert figures["rerun_n"] > 0


@pytest.mark.timeout(180)
def test_a_run_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out:
        run = subprocess.Popen(
            [sys.executable, "-m", "proof", "--jobs=5000", "--sim-seeds=0", f"--evidence={tmp_path / 'kept'}"],
            cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        try:
            until(lambda: "everything is up" in (tmp_path / "out").read_text(), 120)
            ours = below(run.pid)
            assert len(ours) > 5
            run.send_signal(signal.SIGTERM)
            assert run.wait(30) != 0
        finally:
            run.kill()
            run.wait()
    until(lambda: not [pid for pid in ours if exists(pid)], 5)
    assert not list(tmp_path.glob("headrace-proof-*"))


def until(look: Callable[[], object], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < give_up, "it did not come in time"
        time.sleep(0.05)


def below(root: int) -> list[int]:
    """The living processes of the sessions that children of `root` lead."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found = sessions()
    return [pid for leader, parent in pairs if parent == root for pid in found.get(leader, [])]


def exists(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


# -- the ledger itself ------------------------------------------------------------------------------


def line(word: str, job: str, fence: int, at: float, *, attempt: int = 1, pid: int = 10, how: str = "pay") -> Line:
    return Line(word, job, fence, attempt, pid, at, how)


def sound() -> Evidence:
    """Two jobs that went as they should: one at once, one again after the kill of its process."""
    feed = [Seen(1, "state"), Seen(2, "state"), Seen(2, "progress"), Seen(3, "item", "0"), Seen(4, "end")]
    return Evidence(
        attempted={"p1", "p2", "p3"},
        acknowledged={"p1": "a", "p2": "b"},
        jobs={
            "a": JobRow("succeeded", 1, "p1", feed_end=4, items=1),
            "b": JobRow("succeeded", 2, "p2", feed_end=5),
        },
        shown={"a": "succeeded", "b": "succeeded"},
        effects=[Effect("a", 1), Effect("b", 2)],
        placed={"p2"},
        placing={"p2", "p3"},
        lines=[
            line("start", "a", 1, 1.0),
            line("start", "b", 1, 1.1),
            line("end", "a", 1, 1.2),
            line("start", "b", 2, 2.3, attempt=2, pid=11),
            line("end", "b", 2, 2.4, attempt=2, pid=11),
        ],
        feeds=[Followed("a", feed, connections=2)],
        faults=[Fault("kill_worker", 2.0, 2.0, (10,))],
    )


def test_what_went_well_is_counted_and_breaks_no_promise() -> None:
    ledger = compute(sound())
    assert violated(ledger) == []
    assert (ledger.attempted, ledger.acknowledged, ledger.ended, ledger.succeeded) == (3, 2, 2, 2)
    assert (ledger.attempts, ledger.repeated, ledger.feeds, ledger.faults) == (3, 1, 1, {"kill_worker": 1})
    assert ledger.rerun.samples == [pytest.approx(0.3)]


def lose_in_database(evidence: Evidence) -> None:
    del evidence.jobs["a"]
    evidence.effects.pop(0)
    evidence.feeds.clear()


def lose_unended(evidence: Evidence) -> None:
    evidence.jobs["b"] = JobRow("running", 2, "p2")
    evidence.effects.pop()


def lose_in_api(evidence: Evidence) -> None:
    del evidence.shown["b"]


def stick(evidence: Evidence) -> None:
    evidence.jobs["c"] = JobRow("scheduled", 1, "p1b")


def double_effect(evidence: Evidence) -> None:
    evidence.effects.append(Effect("b", 2))


def effect_alone(evidence: Evidence) -> None:
    evidence.jobs["b"] = JobRow("failed", 2, "p2", cause="error")
    evidence.shown["b"] = "failed"


def success_alone(evidence: Evidence) -> None:
    evidence.effects.pop()


def enqueue_twice(evidence: Evidence) -> None:
    evidence.jobs["c"] = JobRow("cancelled", 0, "p2")


def acknowledge_twice(evidence: Evidence) -> None:
    evidence.conflicting = 1


def place_half(evidence: Evidence) -> None:
    evidence.placed.add("p3")


def place_other_half(evidence: Evidence) -> None:
    evidence.placed.clear()


def fence_of_effect(evidence: Evidence) -> None:
    evidence.effects[1] = Effect("b", 1)


def reuse_fence(evidence: Evidence) -> None:
    evidence.lines.append(line("start", "b", 2, 3.0, pid=12))


def lower_fence(evidence: Evidence) -> None:
    evidence.lines.append(line("start", "b", 3, 3.0, pid=12))
    evidence.lines.append(line("start", "b", 1, 3.1, pid=13))


def overlap(evidence: Evidence) -> None:
    evidence.lines.append(line("end", "b", 1, 2.35))


def tear_line(evidence: Evidence) -> None:
    evidence.torn = 1


def skip_offset(evidence: Evidence) -> None:
    del evidence.feeds[0].seen[1]


def repeat_offset(evidence: Evidence) -> None:
    evidence.feeds[0].seen.insert(2, Seen(2, "state"))


def swap_offsets(evidence: Evidence) -> None:
    seen = evidence.feeds[0].seen
    seen[0], seen[1] = seen[1], seen[0]


def early_progress(evidence: Evidence) -> None:
    evidence.feeds[0].seen[2] = Seen(3, "progress")


def no_end(evidence: Evidence) -> None:
    evidence.feeds[0].seen.pop()


def other_end(evidence: Evidence) -> None:
    evidence.jobs["a"] = JobRow("succeeded", 1, "p1", feed_end=5, items=1)


def lost_item(evidence: Evidence) -> None:
    evidence.jobs["a"] = JobRow("succeeded", 1, "p1", feed_end=4, items=2)


def lost_place(evidence: Evidence) -> None:
    evidence.feeds[0].places_lost = 1


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (lose_in_database, "lost"),
        (lose_unended, "lost"),
        (lose_in_api, "lost"),
        (stick, "stuck"),
        (double_effect, "doubled"),
        (effect_alone, "doubled"),
        (success_alone, "doubled"),
        (enqueue_twice, "enqueued_twice"),
        (acknowledge_twice, "enqueued_twice"),
        (place_half, "half_placed"),
        (place_other_half, "half_placed"),
        (fence_of_effect, "fences_wrong"),
        (reuse_fence, "fences_wrong"),
        (lower_fence, "fences_wrong"),
        (overlap, "overlaps"),
        (tear_line, "torn_lines"),
        (skip_offset, "gaps"),
        (repeat_offset, "gaps"),
        (swap_offsets, "gaps"),
        (early_progress, "gaps"),
        (no_end, "gaps"),
        (other_end, "gaps"),
        (lost_item, "gaps"),
        (lost_place, "gaps"),
    ],
)
def test_each_broken_promise_is_seen_and_named(damage: Callable[[Evidence], None], promise: str) -> None:
    evidence = sound()
    damage(evidence)
    ledger = compute(evidence)
    assert [said.partition(":")[0] for said in violated(ledger)] == [promise]
    assert getattr(ledger, promise) == 1


def test_an_old_fence_started_by_a_process_that_had_been_stopped_is_counted_apart() -> None:
    evidence = sound()
    evidence.lines.append(line("start", "b", 4, 3.0, pid=12))
    evidence.lines.append(line("start", "b", 3, 3.1, pid=13))
    evidence.faults.append(Fault("stop_worker", 1.0, 3.09, (13,)))
    ledger = compute(evidence)
    assert (ledger.fences_late, violated(ledger)) == (1, [])


def test_a_job_that_ended_as_crashed_is_counted_apart() -> None:
    evidence = sound()
    evidence.jobs["b"] = JobRow("failed", 2, "p2", cause="crashed", feed_end=5)
    evidence.shown["b"] = "failed"
    evidence.effects.pop()
    ledger = compute(evidence)
    assert (ledger.crashed, ledger.succeeded, ledger.ended, violated(ledger)) == (1, 1, 2, [])


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("kill_worker", 2.0, 2.0, (10,), suspects=(10,)), "ran suspects"),
        (Fault("kill_tree", 2.0, 2.0, (10,), others=0), "no other worker"),
    ],
)
def test_jobs_that_could_not_run_again_at_once_are_set_apart(fault: Fault, why: str) -> None:
    evidence = sound()
    evidence.faults = [fault, Fault("kill_api", 2.0, 2.0, in_flight=3)]
    ledger = compute(evidence)
    rerun = ledger.rerun
    assert (ledger.cut_off, rerun.samples) == (3, [])
    assert [why in reason for reason in rerun.apart] == [True]


def test_another_fault_at_the_same_time_sets_a_kill_apart_and_one_before_it_does_not() -> None:
    evidence = sound()
    evidence.faults += [Fault("disk_full", 1.0, 1.9)]
    assert len(compute(evidence).rerun.samples) == 1
    evidence.faults += [Fault("disk_full", 2.2, 4.0)]
    assert compute(evidence).rerun.apart == {"during disk_full": 1}


def test_the_sum_of_two_runs_has_the_faults_and_the_times_of_both() -> None:
    whole = combined([compute(sound()), compute(sound())])
    assert (whole.acknowledged, whole.faults, len(whole.rerun.samples)) == (4, {"kill_worker": 2}, 2)


@pytest.mark.parametrize("strict", [False, True])
def test_a_disk_that_could_not_be_filled_is_told_and_is_an_error_where_it_must_not_be(strict: bool) -> None:
    report = Report(compute(sound()), 2, "sqlite", "a disk", "not possible here (why)", 1.0, 0.0, {})
    assert "disk_full: not possible here (why)" in table(report)
    assert len(verdict([report], {}, strict=strict)) == strict


def test_too_few_jobs_are_no_proof() -> None:
    report = Report(compute(sound()), 3, "sqlite", "a disk", "a full disk", 1.0, 0.0, {})
    assert verdict([report], {}, strict=False) == ["sqlite: only 2 of 3 jobs were acknowledged in time"]


def test_a_simulator_that_fails_or_is_missing_is_an_error() -> None:
    report = Report(compute(sound()), 2, "sqlite", "a disk", "a full disk", 1.0, 0.0, {})
    assert verdict([report], {"seeds": 1, "failed": []}, strict=True) == []
    assert verdict([report], {"seeds": 1, "failed": [7], "error": "seed 7"}, strict=True) == ["simulator: seed 7"]


def test_files_are_read_as_they_were_written_and_damage_is_counted(tmp_path: Path) -> None:
    lines, log = tmp_path / "lines.log", tmp_path / "producers.log"
    lines.write_text("start aa 1 1 77 12.500000 pay\nstart aa 2 2\nend aa 1 1 77 12.600000 succeeded\n")
    found, torn = read_lines(lines)
    assert found == [Line("start", "aa", 1, 1, 77, 12.5, "pay"), Line("end", "aa", 1, 1, 77, 12.6, "succeeded")]
    assert torn == 1
    log.write_text("attempt single p1\nattempt placed p2\nacknowledged p1 aa\nacknowledged p1 bb\n")
    evidence = Evidence()
    read_producers(log, evidence)
    assert (evidence.attempted, evidence.placing, evidence.acknowledged) == ({"p1", "p2"}, {"p2"}, {"p1": "aa"})
    assert evidence.conflicting == 1
