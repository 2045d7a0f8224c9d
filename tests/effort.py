"""How much the tests do that find more the longer they run: enough with every change, more at night."""

import os
from typing import TypeVar

T = TypeVar("T")
AT_NIGHT = os.environ.get("TESTS_EFFORT") == "night"  # as `make nightly` sets it


def effort(by_day: T, *, at_night: T) -> T:
    """How many seeds, rows or kills this run takes."""
    return at_night if AT_NIGHT else by_day
