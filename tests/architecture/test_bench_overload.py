"""The bench of overload can still be run: both ways, for a few seconds, so that it cannot rot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.overload import Tally, recovery_s

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(120)
def test_it_floods_a_shop_with_and_without_admission(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.overload", "--quick", "--only", name, "--json", tmp_path / f"{name}.json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("on", "off")
    ]
    told = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(told)
    keys: dict[str, float | str] = {}
    for name in ("on", "off"):
        keys |= json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
    assert keys["overload.off.shed"] == 0
    for name in ("on", "off"):
        assert float(keys[f"overload.{name}.requests"]) > 10
        assert f"overload.{name}.recovery_s" in keys
        assert f"overload.{name}.served_after_pct" in keys


def test_a_service_has_recovered_when_it_serves_and_goes_on_serving() -> None:
    came = dict.fromkeys(range(40), 10)
    served = {**dict.fromkeys(range(10), 10), **dict.fromkeys(range(20, 40), 10)}
    assert recovery_s(Tally(came, served), 15, 40) == 5
    assert recovery_s(Tally(came, served | {33: 0}), 15, 40) is None
    assert recovery_s(Tally(came, {}), 15, 40) is None
