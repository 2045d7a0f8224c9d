"""The first deployment without its containers: the entrypoint, the app and the health check of `deploy/`, on SQLite."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.kit import HEADRACE, Program, clean_env, free_port, until

DEPLOY = Path(__file__).parents[2] / "deploy"
ENTRYPOINT = DEPLOY / "entrypoint.sh"
SECRET = "a signing secret that stands in a file"
APP = ("app:app", "--app-dir", str(DEPLOY / "app"))


class Containers:
    """What compose.yaml would start, in one directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "store").write_text("sqlite:///jobs.db\n", "utf-8")
        (place / "secret").write_text(f"{SECRET}\n", "utf-8")
        self.env = {
            "PATH": f"{HEADRACE.parent}:{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HEADRACE_STORE_FILE": str(place / "store"),
            "HEADRACE_SECRET_FILE": str(place / "secret"),
            "HEADRACE_GRACE_S": "1",
        }
        self.port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    def start(self, *args: str) -> Program:
        return Program(*args, cwd=self.place, env=self.env, program=ENTRYPOINT)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ENTRYPOINT, *args],
            cwd=self.place,
            env=clean_env(**self.env),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def told(self, *args: str) -> Any:
        run = self.run(*args, "--json")
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    def health_check(self) -> int:
        """The exit code of the image's own HEALTHCHECK, asked at our port."""
        written = (DEPLOY / "Dockerfile").read_text("utf-8")
        command = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", written, re.MULTILINE)
        assert command is not None
        python, *args = json.loads(command[1].replace(":8000/", f":{self.port}/"))
        assert python == "python"
        return subprocess.run([sys.executable, *args], stderr=subprocess.DEVNULL, timeout=20, check=False).returncode


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    made = Containers(tmp_path)
    yield made
    made.http.close()


def test_it_migrates_serves_works_and_ends_when_asked_to(containers: Containers) -> None:
    assert containers.run("migrate").returncode == 0
    assert containers.run("migrate", "--check").returncode == 0
    assert containers.health_check() == 1
    with (
        containers.start("serve", *APP, "--port", str(containers.port)) as api,
        containers.start("worker", *APP) as worker,
    ):
        api.said(r"^headrace: serving app:app on ")
        assert worker.said(r"^headrace: running jobs of app:app: (\d) tasks, 1 process")[1] == "2"
        until(lambda: containers.health_check() == 0, "health")
        assert containers.http.get("/headrace/health/ready").status_code == 200

        made = containers.run("keys", "create", "shop", "--scope", "enqueue", "--scope", "read")
        key = re.search(r"hr_\S+", made.stdout)
        assert key is not None, made.stderr
        bearer = {"Authorization": f"Bearer {key[0]}"}
        asked = {"task": "digest", "args": {"text": "abc"}}
        digest = containers.http.post("/headrace/api/jobs", json=asked, headers=bearer)
        count = containers.http.post("/count", params={"to": 3})
        assert (digest.status_code, count.status_code) == (202, 202)
        for job, result in ((count, 3), (digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")):
            ended = containers.run("tail", job.json()["id"], "--json")
            assert ended.returncode == 0, ended.stderr
            assert json.loads(ended.stdout.splitlines()[-1])["data"]["result"] == result

        doctor = containers.told("doctor")
        assert [check for check in doctor["checks"] if check["grade"] == "fail" or check["name"] == "settings"] == [
            {
                "name": "settings",
                "grade": "ok",
                "saw": "HEADRACE_ variables: HEADRACE_GRACE_S, HEADRACE_SECRET, HEADRACE_STORE",
                "mend": None,
            }
        ]

        # A deploy in the middle of a job: the grace is too short for it, so it is given back and nothing has failed.
        long = containers.http.post("/count", params={"to": 1000}).json()["id"]
        until(lambda: containers.told("jobs", "show", long)["state"] == "running", "the start of the long job")
        assert (worker.sigterm(), api.sigterm()) == (0, 0)
        assert until(lambda: not worker.below() and not api.below(), "the end of every process", 3)
        view = containers.told("jobs", "show", long)
        assert (view["state"], view["failures"]) == ("ready", 0)
        assert containers.health_check() == 1
        assert SECRET not in api.err + api.out + worker.err + worker.out


def test_a_secret_file_that_is_not_there_ends_the_container(containers: Containers) -> None:
    (containers.place / "secret").unlink()
    run = containers.run("migrate")
    assert run.returncode != 0
    assert "secret" in run.stderr
    assert not (containers.place / "jobs.db").exists()
