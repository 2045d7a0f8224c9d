import re
from datetime import timedelta

import pytest

from headrace.core.checks import real, seconds, whole
from headrace.core.errors import InvalidConfig

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [-0.1, 10.1, NAN, INF, -INF, True, "5", None, 10**400], ids=repr)
def test_a_number_out_of_its_bounds_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidConfig, match=rf"^A\.b must be between 0 and 10, not {re.escape(repr(value))}$"):
        real("A.b", value, least=0, most=10)  # type: ignore[arg-type]


def test_the_bounds_themselves_work_and_become_floats() -> None:
    assert [real("x", value, least=0, most=10) for value in (0, 10)] == [0.0, 10.0]
    assert isinstance(real("x", 3, least=0, most=10), float)
    assert real("x", 0.001, least=0, most=10, above=True) == 0.001


def test_above_leaves_the_least_out() -> None:
    with pytest.raises(InvalidConfig, match="x must be more than 0 and at most 10 percent, not 0"):
        real("x", 0, least=0, most=10, above=True, unit=" percent")


@pytest.mark.parametrize("value", [0, 11, 5.0, True, "5", None], ids=repr)
def test_what_is_no_whole_number_in_its_bounds_is_refused(value: object) -> None:
    with pytest.raises(InvalidConfig, match=r"x must be a whole number between 1 and 10, not"):
        whole("x", value, least=1, most=10)  # type: ignore[arg-type]
    assert [whole("x", each, least=1, most=10) for each in (1, 10)] == [1, 10]


def test_a_duration_is_seconds_or_a_timedelta() -> None:
    assert seconds("x", timedelta(minutes=2)) == seconds("x", 120) == 120.0
    with pytest.raises(InvalidConfig, match=r"x must be between 0 and 86400 seconds, not -1\.0"):
        seconds("x", timedelta(seconds=-1))
    with pytest.raises(InvalidConfig, match="not 'soon'"):
        seconds("x", "soon")  # type: ignore[arg-type]
