"""How a task says where its job goes: what it raises."""

from typing import final


class Steer(BaseException):
    """What a task raises to say where its job goes; no `except Exception` on the way swallows it."""


@final
class Snooze(Steer):
    """Not now: another attempt after `delay_s`; no failure is counted."""

    def __init__(self, delay_s: float, reason: str = "") -> None:
        """`reason` is shown in the job's feed."""
        super().__init__(reason)
        self.delay_s = delay_s


@final
class RetryAfter(Steer):
    """A failure: the next attempt after `delay_s`, or after what `Retry` says."""

    def __init__(self, delay_s: float | None, reason: str = "") -> None:
        """`delay_s` None leaves the delay to the task's `Retry`."""
        super().__init__(reason or "the task asked for another attempt")
        self.delay_s = delay_s


@final
class Abandon(Steer):
    """The job ends as failed, with no further attempt."""

    def __init__(self, reason: str) -> None:
        """`reason` becomes the failure's message."""
        super().__init__(reason)
