"""Every figure of the bench of brokers can still be measured: once, small, so that it cannot rot."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from servers.server import MissingError, find

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("local", "redis")  # whose servers start at once


@pytest.mark.nightly
def test_it_measures_every_figure_that_was_promised(tmp_path: Path, missing: Callable[[str], NoReturn]) -> None:
    try:
        find("redis")
    except MissingError as error:
        missing(str(error))
    path = tmp_path / "brokers.json"
    words = [sys.executable, "-m", "bench.brokers", "--quick", "--json", str(path), *KINDS]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    keys = json.loads(path.read_text("utf-8"))
    for kind in KINDS:
        assert 0 < keys[f"{kind}.wake_p50_ms"] <= keys[f"{kind}.wake_p99_ms"]
        assert keys[f"{kind}.wake_lost"] == 0
    for name in ("source_per_s", "source_to_raw", "sink_per_s", "sink_to_raw"):
        assert keys[f"redis.{name}"] > 0
