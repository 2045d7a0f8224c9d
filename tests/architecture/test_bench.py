"""Every figure of the bench can still be measured: once, small, so that it cannot rot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.figures import FIGURES
from bench.page import tables
from bench.report import TARGETS, met, table

ROOT = Path(__file__).resolve().parents[2]
PROMISED = {*TARGETS, "sqlite.drain_to_floor"}
BESIDE = {"floor.drain_per_s", "huey.drain_per_s", "sqlite.drain_batch", "sqlite.synchronous", "commit", "machine.cpu"}


HALVES = (("drain", "sustained", "enqueue", "pickup", "idle"), ("growth", "rerun"))


@pytest.mark.timeout(120)
@pytest.mark.nightly
def test_it_measures_every_figure_that_was_promised(tmp_path: Path) -> None:
    assert sorted(name for half in HALVES for name in half) == sorted(FIGURES)
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "bench", "--tiny", "--json", tmp_path / f"{half[0]}.json", *half],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for half in HALVES
    ]
    told = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(told)
    keys: dict[str, float | str] = {}
    for half in HALVES:
        keys |= json.loads((tmp_path / f"{half[0]}.json").read_text("utf-8"))
    assert keys.keys() >= PROMISED | BESIDE
    assert {name for name in PROMISED - {"sqlite.idle_cpu_pct"} if not float(keys[name]) > 0} == set()
    assert all(name in "".join(told) for name in TARGETS)
    assert "**" in tables(keys)  # the docs' table can be made of them


def test_a_name_that_it_does_not_know_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "drian"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "drian" in done.stderr
    assert "drain" in done.stderr


@pytest.mark.parametrize(
    ("name", "kept", "missed"), [("sqlite.drain_per_s", 20_000, 19_999), ("sqlite.pickup_p50_ms", 3.0, 3.001)]
)
def test_the_table_says_which_promise_was_missed(name: str, kept: float, missed: float) -> None:
    assert met(name, kept)
    assert not met(name, missed)
    assert "MISSED" not in table({name: kept})
    assert "MISSED" in table({name: missed})
