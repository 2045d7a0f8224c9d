"""Durations and instants as users write them, and as numbers."""

import math
from datetime import datetime, timedelta
from typing import TypeAlias

from headrace.core.errors import UsageError

Duration: TypeAlias = float | timedelta

INSTANT_MAX = 253_402_300_799.0  # the end of the year 9999


def seconds(name: str, value: Duration, *, most: float, least: float = 0.0) -> float:
    """A duration as seconds; `name` is how its user knows it.

    Raises:
        UsageError: not a finite duration between `least` and `most`.
    """
    given = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(given, bool) or not isinstance(given, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{name} is a number of seconds or a timedelta, not {value!r}")
    if not (math.isfinite(given) and least <= given <= most):
        raise UsageError(f"{name} is between {least:g} and {most:g} seconds, not {given!r}")
    return float(given)


def instant(name: str, value: datetime) -> float:
    """An aware datetime as seconds since the epoch; `name` is how its user knows it.

    Raises:
        UsageError: not a datetime, or one without a time zone.
    """
    if not isinstance(value, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{name} is a datetime, not {value!r}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise UsageError(f"{name} needs a time zone: {value.isoformat()} names no instant; try datetime.now(UTC)")
    at = value.timestamp()
    if not 0 <= at <= INSTANT_MAX:
        raise UsageError(f"{name} is between the years 1970 and 9999, not {value.isoformat()}")
    return at
