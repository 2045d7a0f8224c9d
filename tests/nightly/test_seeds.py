"""A hundred thousand worlds that no push has seen: the seeds go on where the day's date says."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

SEEDS = int(os.environ.get("SEEDS", "100000"))
RUN_S = 12 * 3_600
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(RUN_S + 60)]


def test_a_hundred_thousand_seeds_keep_every_promise() -> None:
    first = (1 + datetime.now(UTC).date().toordinal()) * 1_000_000
    done = subprocess.run(
        [sys.executable, "-m", "headrace.testing.sim", "--seeds", str(SEEDS), "--first", str(first), "--json"],
        stdout=subprocess.PIPE, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["failed"] == []
    assert done.returncode == 0
