"""The table of what was promised and what was measured."""

from collections.abc import Mapping

from bench.run import Value

TARGETS: Mapping[str, tuple[str, float]] = {
    "sqlite.sustained_per_s": (">=", 10_000),
    "sqlite.drain_per_s": (">=", 20_000),
    "sqlite.enqueue_100_callers_per_s": (">=", 5_000),
    "sqlite.pickup_p50_ms": ("<=", 3),
    "sqlite.pickup_p99_ms": ("<=", 15),
    "sqlite.idle_cpu_pct": ("<=", 1),
    "sqlite.claim_growth_ratio": ("<=", 1.3),
    "sqlite.rerun_supervised_s": ("<=", 0.3),
    "sqlite.rerun_tree_s": ("<=", 0.5),
}


def met(name: str, value: float) -> bool:
    """Whether a figure keeps its promise."""
    sign, bound = TARGETS[name]
    return value >= bound if sign == ">=" else value <= bound


def table(keys: Mapping[str, Value]) -> str:
    """One line per promised figure that was measured."""
    lines = [f"{'figure':<36}{'measured':>12}  {'promised':<12}"]
    for name, (sign, bound) in TARGETS.items():
        value = keys.get(name)
        if isinstance(value, float | int):
            verdict = "" if met(name, value) else "  MISSED"
            lines.append(f"{name:<36}{value:>12,.6g}  {sign} {bound:<9,.6g}{verdict}")
    return "\n".join(lines)
