"""The chaos ledger over 100,000 jobs: every fault, many times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proof.ledger import PROMISES
from proof.processes import ROOT

JOBS = 100_000
RUN_S = 2 * 3_600
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(RUN_S + 60)]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_is_lost_or_doubled_in_a_hundred_thousand_jobs(tmp_path: Path, store: str) -> None:
    path = tmp_path / "ledger.json"
    done = subprocess.run(
        [sys.executable, "-m", "proof", f"--jobs={JOBS}", f"--store={store}", "--sim-seeds=0", f"--json={path}"],
        cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    figures = json.loads(path.read_text("utf-8"))
    assert figures["acknowledged"] >= JOBS
    assert figures["ended"] == figures["acknowledged"]
    assert {name: figures[name] for name in PROMISES} == dict.fromkeys(PROMISES, 0)
    assert store != "sqlite" or figures["foreign_crashes"] == 0
    assert all(count >= 5 for count in figures["faults"].values()), figures["faults"]
