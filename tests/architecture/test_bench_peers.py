"""The bench of the peers can still be run: the floor and Headrace, small, so that it cannot rot."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.peers.catalogue import PEERS
from bench.peers.environments import HERE
from bench.peers.page import images, tables
from bench.peers.summary import OWN, summary

ROOT = Path(__file__).resolve().parents[2]
MEASURES = ("enqueue", "drain_noop_1", "sustained", "pickup_idle", "rerun")
WATCHED = {
    *(f"postgres.{name}" for name in OWN),
    "postgres.drain_to_graphile",
    "postgres.drain_to_best_python_peer",
} | {f"postgres.{name}" for name in ("drain_to_floor", "pickup_p50_over_floor_ms", "pickup_p99_to_floor")}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.peers", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.nightly
@pytest.mark.timeout(240)
def test_floor_and_headrace_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    done = run(
        "--quick",
        *("--only", "floor,headrace", "--measures", ",".join(MEASURES)),
        *("--json", str(path)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    keys = json.loads(path.read_text("utf-8"))
    if "peers.floor.failed" in keys and not os.environ.get("CI"):
        pytest.skip(keys["peers.floor.failed"])
    assert {name: why for name, why in keys.items() if name.endswith(".failed")} == {}
    for peer in ("floor", "headrace"):
        assert keys[f"peers.{peer}.drain_noop_1.per_s"] > 0
        assert 0 < keys[f"peers.{peer}.drain_noop_1.jobs"] <= keys[f"peers.{peer}.drain_noop_1.backlog"]
        assert keys[f"peers.{peer}.sustained.per_s"] > 0
        assert keys[f"peers.{peer}.pickup_idle.p50_ms"] > 0
    assert keys["peers.headrace.rerun.kills"] > 0
    assert "floor: bare asyncpg" in tables(keys)
    for image in images(keys).values():
        ET.fromstring(image)


@pytest.mark.parametrize("option", ["--only", "--measures"])
def test_a_name_that_it_does_not_know_is_refused(option: str) -> None:
    done = run(option, "flor")
    assert done.returncode == 2
    assert "flor" in done.stderr


def test_the_watched_figures_are_made_of_a_full_run() -> None:
    figures = {f"peers.headrace.{figure}": 2.0 for figure in OWN.values()}
    figures |= {"peers.floor.drain_noop_1.per_s": 4.0, "peers.graphile.drain_noop_1.per_s": 8.0}
    figures |= {"peers.floor.pickup_idle.p50_ms": 1.5, "peers.floor.pickup_idle.p99_ms": 1.0}
    figures |= {"peers.arq.drain_noop_1.per_s": 0.5, "peers.saq.drain_noop_1.per_s": 1.0}
    made = summary(figures | {"headrace.store": "postgres", "peers.arq.title": "arq"})
    assert made.keys() == WATCHED
    assert made["postgres.drain_to_floor"] == 0.5
    assert made["postgres.drain_to_graphile"] == 0.25
    assert made["postgres.drain_to_best_python_peer"] == 2.0
    assert made["postgres.pickup_p50_over_floor_ms"] == 0.5
    assert summary(figures | {"headrace.store": "sqlite"}) == {}


def test_every_peer_is_pinned() -> None:
    for peer in PEERS:
        kind, _, folder = peer.environment.partition(":")
        if kind == "node":
            pins = json.loads((HERE / folder / "package.json").read_text("utf-8"))["dependencies"]
            assert re.fullmatch(r"[\d.]+", pins[peer.package])
        elif kind != "own":
            lines = (HERE / "requirements" / f"{kind}.txt").read_text("utf-8").splitlines()
            pinned = [line for line in lines if not line.startswith("#")]
            assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pinned)
            assert any(line.startswith(f"{peer.package}==") for line in pinned)
