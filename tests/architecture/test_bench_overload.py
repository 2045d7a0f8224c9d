"""The bench of overload can still be run: for a few seconds, so that it cannot rot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.overload import Tally, recovery_s

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.nightly
@pytest.mark.timeout(120)
def test_it_floods_a_shop(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.overload", "--quick", "--only", "on", "--json", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    keys = json.loads(path.read_text("utf-8"))
    assert keys["upstream.requests"] > 10
    assert "upstream.recovery_s" in keys
    assert "upstream.served_after_pct" in keys


def test_a_service_has_recovered_when_it_serves_and_goes_on_serving() -> None:
    came = dict.fromkeys(range(40), 10)
    served = {**dict.fromkeys(range(10), 10), **dict.fromkeys(range(20, 40), 10)}
    assert recovery_s(Tally(came, served), 15, 40) == 5
    assert recovery_s(Tally(came, served | {38: 0}), 15, 40) is None
    assert recovery_s(Tally(came, {}), 15, 40) is None
