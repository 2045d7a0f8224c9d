"""Looking at jobs and steering them, with a real worker."""

import json
import os
import pty
import signal
import subprocess
import sys
import uuid
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(150)  # a worker starts and ends in most

KEYS = {
    *("id", "task", "queue", "state", "attempt", "failures", "max_attempts", "priority", "key", "tags", "args"),
    *("created_at", "due_at", "started_at", "finished_at", "deadline_at", "worker", "cancelling", "suspect"),
    *("progress", "result", "result_expired", "error", "position"),
}


def test_only_migrate_makes_a_database(shop: Any) -> None:
    assert shop.run("jobs").returncode == 1
    assert not (shop.path / "shop.db").exists()
    assert shop.run("migrate", "--check").returncode == 1
    assert shop.json("migrate")["applied"] != []
    assert shop.json("migrate")["applied"] == []
    assert shop.out("migrate", "--check") == "schema 2, this version wants 2\n"
    assert shop.out("jobs") == "ID  TASK  QUEUE  STATE  ATTEMPT  CREATED  REMARK\n"


def test_the_way_of_jobs(shop: Any) -> None:
    """To three ends: succeeded, failed, cancelled."""
    good, bad, long = map(shop.enqueue, ("count.enqueue(3)", "boom.enqueue()", "nap.enqueue(99)"))
    told = shop.json("jobs", "list")
    assert [job["id"] for job in told["jobs"]] == [long, bad, good]
    assert set(told["jobs"][0]) == KEYS
    assert shop.json("jobs", "--limit", "2") == {"jobs": told["jobs"][:2], "more": True}
    assert [job["id"] for job in shop.json("jobs", "--queue", "slow", "--since", "1h")["jobs"]] == [long]
    assert shop.job(good)["holds"][0]["kind"] == "no-worker"

    worker = shop.start("worker", "shop:app", "--grace", "0.2")
    tail = shop.run("tail", good)
    assert tail.returncode == 0
    lines = tail.stdout.splitlines()
    assert lines[0].endswith(f"job {good} count")
    assert [line.split("  ", 1)[1] for line in lines if " item " in line] == [
        f'attempt 1  item {{"done": {n}}}' for n in range(3)
    ]
    assert lines[-1].endswith("attempt 1  succeeded 3")
    assert "\x1b" not in tail.stdout

    failed = shop.run("tail", bad, "--json")
    assert failed.returncode == 1
    updates = [json.loads(line) for line in failed.stdout.splitlines()]
    assert [set(update) for update in updates] == [{"position", "attempt", "kind", "data", "at"}] * len(updates)
    assert (updates[-1]["kind"], updates[-1]["data"]["error"]["message"]) == ("end", "no luck")

    shop.until(lambda: shop.job(long)["state"] == "running", "the nap begins")
    assert shop.out("jobs", "cancel", long) == f"{long}  nap  running -> asked to stop\n"
    assert shop.run("tail", long).returncode == 3

    assert shop.json("jobs", "retry", "--task", "boom", "--dry-run")["jobs"][0]["before"] == "failed"
    assert shop.out("jobs", "retry", "--task", "boom") == f"{bad}  boom  failed -> ready\n"
    shop.until(lambda: shop.job(bad)["state"] == "failed", "boom fails again")
    assert len(shop.job(bad)["attempts"]) == 2
    refused = shop.run("jobs", "retry", good)
    assert refused.returncode == 1
    assert "could not be made ready again; their state does not allow it" in refused.stderr

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert shop.workers() == []


def test_a_drain_gives_back_without_burning_an_attempt(shop: Any) -> None:
    job = shop.enqueue("nap.enqueue(99)")
    refused = shop.run("worker", "shop:app", "--queues", " ,")
    assert (refused.returncode, "names no queue" in refused.stderr) == (2, True)
    worker = shop.start("worker", "shop:app", "--grace", "0.1", "--queues", "slow", "--concurrency", "7")
    shop.until(lambda: shop.job(job)["state"] == "running", "the nap begins")
    (one,) = [each for each in shop.workers() if each["role"] == "worker"]
    assert (one["queues"], one["running"], one["state"]) == (["slow"], 1, "alive")
    assert one["concurrency"] >= 7
    assert one["supervisor_pid"] == worker.pid
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=60) == 0
    after = shop.job(job)
    assert (after["state"], after["failures"], after["attempts"][0]["outcome"]) == ("ready", 0, "given_back")


def test_queues_are_held_and_released(shop: Any) -> None:
    shop.enqueue("nap.enqueue(1)")
    assert shop.out("queues", "pause", "slow") == "slow: paused\n"
    assert shop.json("queues")["queues"][0]["paused"] is True
    assert shop.out("queues").splitlines()[1].split()[:3] == ["slow", "paused", "1"]
    strange = shop.run("queues", "pause", "fast")
    assert (strange.returncode, strange.stderr) == (1, "headrace: there is no queue fast; there are slow\n")
    assert shop.out("queues", "resume", "slow") == "slow: resumed\n"
    assert shop.json("queues")["queues"][0]["paused"] is False


def test_keys_are_shown_once(shop: Any) -> None:
    shop.out("migrate")
    made = shop.run("keys", "create", "robot", "--scope", "read")
    assert made.returncode == 0
    key = made.stdout.strip()
    assert key.startswith("hr_")
    (listed,) = shop.json("keys")["keys"]
    assert (listed["name"], listed["scopes"], listed["revoked_at"]) == ("robot", ["read"], None)
    assert key not in shop.out("keys", "list")
    assert all(key.encode() not in path.read_bytes() for path in shop.path.glob("shop.db*") if path.is_file())
    shop.out("keys", "revoke", listed["id"])
    assert shop.json("keys")["keys"][0]["revoked_at"] is not None
    assert shop.run("keys", "revoke", "nope").returncode == 1


def test_a_job_that_is_not_there(shop: Any) -> None:
    shop.out("migrate")
    job = str(uuid.uuid4())
    for command in (("jobs", "show", job), ("jobs", "cancel", job), ("tail", job)):
        done = shop.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"headrace: there is no job {job} in this store; ")


def test_a_reader_that_goes_away_is_no_error(shop: Any) -> None:
    shop.run_script("await shop.hr.enqueue_many([shop.boom.call() for _ in range(2000)])")
    with subprocess.Popen(
        [sys.executable, "-m", "headrace", "jobs", "--limit", "5000"],
        cwd=shop.path,
        env=shop.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.readline()
        listing.stdout.close()
        assert listing.stderr.read() == b""
        assert listing.wait(timeout=60) == 0


def seen(shop: Any, *args: str, **env: str) -> str:
    """What a person at a terminal sees."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", *args],
        cwd=shop.path,
        env=shop.env | {"TERM": "xterm-256color", "COLUMNS": "160"} | env,
        stdout=theirs,
        stderr=subprocess.STDOUT,
    )
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 4096):
            told += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) in {0, 1}
    return told.decode()


def test_a_person_sees_colour_and_times_as_ages(shop: Any) -> None:
    shop.enqueue("boom.enqueue()")
    told = seen(shop, "jobs")
    assert "\x1b[34mready" in told
    assert " ago" in told
    assert "\x1b[3" not in seen(shop, "jobs", NO_COLOR="1")
    worker = shop.start("worker", "shop:app")
    job = shop.json("jobs")["jobs"][0]["id"]
    assert "failed (ValueError: no luck)" in seen(shop, "tail", job)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
