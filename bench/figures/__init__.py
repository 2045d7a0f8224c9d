"""The measurements, by the name that the command line knows them by."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from bench.figures import drain, enqueue, growth, idle, pickup, rerun, sustained
from bench.run import Run

Measure: TypeAlias = Callable[[Run], None]

FIGURES: Mapping[str, Measure] = {
    "drain": drain.measure,
    "sustained": sustained.measure,
    "enqueue": enqueue.measure,
    "pickup": pickup.measure,
    "idle": idle.measure,
    "growth": growth.measure,
    "rerun": rerun.measure,
}
