"""The README's first screen, done as it says: paste, run, post, follow; and what it promises of a killed worker."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.kit import Program, answer, clean_env, until

WORKERS = 2  # one, and the one for suspects
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory with the README's `app.py`."""
    section = README.read_text("utf-8").partition("## Twenty lines")[2]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    assert "Save this as `app.py`" in section[: block.start()]
    (tmp_path / "app.py").write_text(block[1], "utf-8")
    return tmp_path


def told(*args: str, cwd: Path) -> Any:
    """What a listing says with `--json`."""
    run = answer(*args, "--json", cwd=cwd)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_paste_run_post_and_follow(place: Path) -> None:
    with Program("dev", "app:app", "--port=0", cwd=place) as dev:
        url = dev.said(r"^headrace: (http://\S+) serves app:app")[1]
        posted = httpx.post(f"{url}/count", params={"to": 12}, timeout=20)
        assert posted.status_code == 202
        job = posted.json()
        assert set(job) == {"id", "state", "position", "token", "links"}

        tail = answer("tail", job["id"], cwd=place, within=30)
        assert tail.returncode == 0, tail.stderr
        lines = tail.stdout.splitlines()
        assert "\x1b" not in tail.stdout
        items = re.findall(r"  item \d+ (\{.*\})$", tail.stdout, re.MULTILINE)
        squares = [json.loads(item)["square"] for item in items]
        assert squares == [n * n for n in range(1, 13)]
        assert lines[0].endswith(f"job {job['id']} count")
        assert re.search(r"  attempt 1  succeeded.* 12$", lines[-1])

        (only,) = told("jobs", "list", cwd=place)["jobs"]
        assert (only["id"], only["task"], only["state"], only["result"]) == (job["id"], "count", "succeeded", 12)
        page = httpx.get(f"{url}/headrace/", timeout=20)
        assert page.status_code == 200
        assert job["id"] in page.text
        assert dev.ctrl_c() == 0
        assert until(lambda: not dev.below(), "the end of every process", 3)


def test_a_change_of_the_code_is_served(place: Path) -> None:
    with Program("dev", "app:app", "--port=0", cwd=place) as dev:
        url = dev.said(r"^headrace: (http://\S+) serves app:app")[1]
        httpx.post(f"{url}/count", params={"to": 1}, timeout=20).raise_for_status()
        app = place / "app.py"
        app.write_text(app.read_text("utf-8").replace('{"square": n * n}', '{"cube": n**3}'), "utf-8")
        dev.said(r"^headrace: app\.py changed; starting anew$")
        job = httpx.post(f"{url}/count", params={"to": 2}, timeout=20).raise_for_status().json()["id"]
        tail = answer("tail", job, "--json", cwd=place, within=30)
        items = [each["data"]["data"] for each in map(json.loads, tail.stdout.splitlines()) if each["kind"] == "item"]
        assert items == [{"cube": 1}, {"cube": 8}]


def test_code_that_does_not_import_is_told_once_and_waited_for(place: Path) -> None:
    app = place / "app.py"
    good = app.read_text("utf-8")
    app.write_text(f"{good}\n\nprint(undefined)\n", "utf-8")
    with Program("dev", "app:app", "--port=0", cwd=place, users_fault=True) as dev:
        url = dev.said(r"^headrace: (http://\S+) serves app:app")[1]
        dev.said(r"^headrace: importing app failed: NameError: .*; ")
        dev.said(r"^headrace: it ended; waiting for a change of the code$")
        app.write_text(good, "utf-8")
        httpx.post(f"{url}/count", params={"to": 1}, timeout=30).raise_for_status()
        assert dev.err.count("Traceback") == 1


def test_a_job_outlives_its_worker(place: Path) -> None:
    with Program("worker", "app:app", cwd=place) as worker:
        worker.said(r"^headrace: running jobs of app:app: 1 task, 1 process, store sqlite:///headrace\.db$")

        def seats() -> dict[str, int] | None:
            found = {each["id"]: each["pid"] for each in told("workers", cwd=place)["workers"] if each["pid"]}
            return found if len(found) == WORKERS else None

        pids = until(seats, "the workers")
        script = "import app; job = app.count.enqueue_sync(50); print(job.id); app.hr.close_sync()"
        job = subprocess.check_output([sys.executable, "-c", script], cwd=place, env=clean_env(), text=True).strip()

        def running() -> dict[str, Any] | None:
            view: dict[str, Any] = told("jobs", "show", job, cwd=place)
            return view if (view["progress"] or {}).get("done", 0) >= 3 else None

        pid = pids[until(running, "the third number")["worker"]]
        assert pid in worker.below()
        os.kill(pid, signal.SIGKILL)

        tail = answer("tail", job, "--json", cwd=place, within=30)
        assert tail.returncode == 0, tail.stderr
        updates = [json.loads(line) for line in tail.stdout.splitlines()]
        keys = Counter(each["data"]["key"] for each in updates if each["kind"] == "item")
        assert keys == Counter(map(str, range(1, 51)))
        assert updates[-1]["kind"] == "end"
        assert updates[-1]["data"]["result"] == 50
        view = told("jobs", "show", job, cwd=place)
        assert [attempt["outcome"] for attempt in view["attempts"]] == ["crashed", "succeeded"]
        assert view["failures"] == 0, "a crash is no failure"
        assert worker.ctrl_c() == 0
