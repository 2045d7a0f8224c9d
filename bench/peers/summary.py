"""The few figures that are watched: Headrace on PostgreSQL, against the floor and the best peers of the same run."""

from collections.abc import Mapping

from bench.run import Value

NOOP = "drain_noop_1"
NOT_PYTHON_PEERS = ("headrace", "floor", "graphile")
OWN = {
    "drain_per_s": f"{NOOP}.per_s",
    "sustained_per_s": "sustained.per_s",
    "enqueue_100_callers_per_s": "enqueue.callers_per_s",
    "enqueue_bulk_per_s": "enqueue.bulk_per_s",
    "pickup_p50_ms": "pickup_idle.p50_ms",
    "pickup_p99_ms": "pickup_idle.p99_ms",
    "worker_us_per_job": f"{NOOP}.worker_us_per_job",
    "server_us_per_job": f"{NOOP}.server_us_per_job",
    "rerun_p99_s": "rerun.p99_s",
    "claim_growth_ratio": "growth.ratio",
    "held_snapshot_ratio": "held.ratio",
}


def summary(keys: Mapping[str, Value]) -> dict[str, float]:
    """What could be made of a run; nothing of a Headrace that was not on PostgreSQL."""
    if keys.get("headrace.store") != "postgres":
        return {}

    def of(peer: str, figure: str) -> float | None:
        value = keys.get(f"peers.{peer}.{figure}")
        return float(value) if isinstance(value, int | float) else None

    made = {f"postgres.{name}": of("headrace", figure) for name, figure in OWN.items()}
    drained = of("headrace", f"{NOOP}.per_s")
    others = {name.split(".")[1] for name in keys if name.startswith("peers.")} - set(NOT_PYTHON_PEERS)
    rates = [rate for peer in others if (rate := of(peer, f"{NOOP}.per_s")) is not None]
    made["postgres.drain_to_best_python_peer"] = _ratio(drained, max(rates, default=None))
    made["postgres.drain_to_graphile"] = _ratio(drained, of("graphile", f"{NOOP}.per_s"))
    made["postgres.drain_to_floor"] = _ratio(drained, of("floor", f"{NOOP}.per_s"))
    floor_p99 = of("floor", "pickup_idle.p99_ms")
    own_p50, floor_p50 = of("headrace", "pickup_idle.p50_ms"), of("floor", "pickup_idle.p50_ms")
    made["postgres.pickup_p99_to_floor"] = _ratio(of("headrace", "pickup_idle.p99_ms"), floor_p99)
    if own_p50 is not None and floor_p50 is not None:
        made["postgres.pickup_p50_over_floor_ms"] = own_p50 - floor_p50
    return {name: round(value, 4) for name, value in made.items() if value is not None}


def _ratio(value: float | None, to: float | None) -> float | None:
    return value / to if value is not None and to else None
