"""Many worlds, each with faults of its own, in which every promise must be kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.testing.sim import events as e
from headrace.testing.sim import run
from headrace.testing.sim.__main__ import main
from headrace.testing.sim.checkers.base import Checker, Hearing

SEEDS = 100
CORPUS = [line.split(maxsplit=1) for line in (Path(__file__).parent / "corpus.txt").read_text().splitlines()]


def simulate(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The program, as it is run by hand."""
    command = [sys.executable, "-m", "headrace.testing.sim", *arguments]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_many_seeds_keep_every_promise() -> None:
    done = simulate("--seeds", str(SEEDS), "--json")
    assert done.returncode == 0, done.stderr
    sums = json.loads(done.stdout.splitlines()[-1])
    assert (sums["seeds"], sums["failed"]) == (SEEDS, [])
    assert sums["worker_hours"] > 0


@pytest.mark.parametrize(("seed", "what"), [line for line in CORPUS if line and line[0] != "#"])
def test_what_once_failed_does_not_fail_again(seed: str, what: str) -> None:
    assert run(int(seed)).violation is None, what


@pytest.mark.parametrize("seed", [17, 40])
def test_a_seed_has_one_history_whatever_the_process(seed: int) -> None:
    told = {simulate(str(seed), PYTHONHASHSEED=str(salt)).stdout for salt in (0, 1)}
    assert len(told) == 1
    assert "digest" in told.pop()


def test_two_seeds_have_two_histories() -> None:
    assert simulate("17").stdout != simulate("18").stdout


class NothingIsClaimed(Checker):
    """A promise that nobody can keep."""

    name = "nothing is claimed"

    def hears(self) -> Hearing:
        return {e.Claimed: lambda event: self.fail(f"{event.worker} has claimed a job")}


def test_a_replay_names_the_promise_that_was_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("headrace.testing.sim.world.CHECKERS", (NothingIsClaimed,))
    assert main(["17", "--quiet"]) == 1
    assert "seed 17: BROKEN: nothing is claimed: " in capsys.readouterr().out
    assert main(["--seeds", "2", "--jobs", "1", "--first", "16", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == [16, 17]


def test_a_replay_is_a_timeline_that_a_person_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["17"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 17:")
    assert lines[-1] == "seed 17: every promise was kept"
    words = ("supervisor-1 begins", "a producer enqueues it", "is told that it is durable", "the body of attempt 1",
             "settles fence 1 as Succeeded: settled", "sees end", "*** everything is well from now on")  # fmt: skip
    for word in words:
        assert any(word in line for line in lines), word


def test_misuse_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "give either a SEED to replay, or --seeds N" in capsys.readouterr().err
