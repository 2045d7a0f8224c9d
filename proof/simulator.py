"""The simulator's figures, as its own command tells them."""

import importlib.util
import json
import subprocess
import sys
from typing import Any, Final

from proof.processes import ROOT

MODULE: Final = "headrace.testing.sim"
SEEDS: Final = 200


def simulate(seeds: int) -> dict[str, Any]:
    """`seeds`, `failed`, `worker_hours`, `cpu_s`, `wall_s`; and `error` if it did not do what it should."""
    if importlib.util.find_spec(MODULE) is None:
        return {"seeds": 0, "failed": [], "error": f"there is no {MODULE} here"}
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "--seeds", str(seeds), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {
            "seeds": 0,
            "failed": [],
            "error": f"it said nothing readable (exit {done.returncode}): {done.stderr[-2000:]}",
        }
    if done.returncode:
        found["error"] = f"seeds {found.get('failed')} failed; replay one with python -m {MODULE} SEED"
    return found
