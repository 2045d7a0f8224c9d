"""What is known of one sink: what waits for it, and how the process that sends says that it stands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One sink. `waiting` counts up to a bound, and `more` says that there are others.

    `state` is idle (nothing waits), sending, sink_away, store_away, standby, or unattended: something waits, and no
    process says that it sends. `why` is what it waits for.
    """

    name: str
    waiting: int
    more: bool
    age_s: float | None
    parked: int
    state: str
    why: str = ""
    process: str | None = None
