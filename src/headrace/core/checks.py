"""What a policy's fields may be: each check returns the plain value, or says which field and what it may be."""

from datetime import timedelta
from typing import TypeAlias

from headrace.core.errors import InvalidConfig

Duration: TypeAlias = float | timedelta

DAY_S = 86_400.0


def real(name: str, value: float, *, least: float, most: float, above: bool = False, unit: str = "") -> float:
    """A number from `least` to `most` (`above`: more than `least`); `name` is how its user knows it.

    Raises:
        InvalidConfig: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
        fits = False
    else:
        fits = least < value <= most if above else least <= value <= most
    if not fits:
        bounds = f"more than {least:g} and at most {most:g}" if above else f"between {least:g} and {most:g}"
        raise InvalidConfig(f"{name} must be {bounds}{unit}, not {value!r}")
    return float(value)


def whole(name: str, value: int, *, least: int, most: int) -> int:
    """A whole number from `least` to `most`.

    Raises:
        InvalidConfig: it is none.
    """
    if type(value) is not int or not least <= value <= most:
        raise InvalidConfig(f"{name} must be a whole number between {least} and {most}, not {value!r}")
    return value


def seconds(name: str, value: Duration, *, least: float = 0.0, most: float = DAY_S, above: bool = False) -> float:
    """A duration as seconds.

    Raises:
        InvalidConfig: neither a number of seconds nor a timedelta, or out of its bounds.
    """
    return real(name, plain_s(value), least=least, most=most, above=above, unit=" seconds")


def plain_s(value: Duration) -> float:
    """A duration as seconds, unchecked."""
    return value.total_seconds() if isinstance(value, timedelta) else value
