"""Every figure of the bench of upstreams can still be measured: once, small, so that it cannot rot."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from bench.upstreams.__main__ import BOUNDS, table
from servers.server import MissingError, find

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ("guard", "half_open", "fleetwide", "outage", "hold")
CERTAIN = ("half_open_excess", "outage_calls_over_bound", "outage_failed_jobs", "failures_counted")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.upstreams", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.nightly
@pytest.mark.timeout(240)
def test_it_measures_every_figure_that_was_promised(tmp_path: Path, missing: Callable[[str], NoReturn]) -> None:
    try:
        find("postgres")
    except MissingError as error:
        missing(str(error))
    path = tmp_path / "upstreams.json"
    done = run("--quick", "--json", str(path), *FIGURES)
    assert done.returncode == 0, done.stdout + done.stderr
    keys = json.loads(path.read_text("utf-8"))
    assert keys.keys() >= BOUNDS.keys()
    assert keys["upstream.half_open_rounds"] > 0
    assert keys["upstream.outage_calls"] > 0
    assert {name: keys[f"upstream.{name}"] for name in CERTAIN} == dict.fromkeys(CERTAIN, 0)


def test_a_name_that_it_does_not_know_is_refused() -> None:
    done = run("gaurd")
    assert done.returncode == 2
    assert "gaurd" in done.stderr


def test_the_table_says_which_promise_was_missed() -> None:
    assert "MISSED" not in table({"upstream.guard_us": 10})
    assert "MISSED" in table({"upstream.guard_us": 10.1})
