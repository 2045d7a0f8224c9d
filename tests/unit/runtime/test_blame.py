import copy
import pickle
from collections.abc import Callable

import httpx
import pytest

from headrace.core.errors import BreakerOpen, Full, RateLimited, Rejected
from headrace.runtime.blame import ANSWER_MARK, blame, blamed_upstream, own_blame


class Down(Exception):
    pass


def down() -> Down:
    error = Down()
    blame(error, "bank", 3.0)
    return error


def caused() -> None:
    raise ValueError from down()


def during() -> None:
    try:
        raise down()
    except Down:
        raise ValueError  # noqa: B904 - what is looked at


def deep() -> None:
    try:
        during()
    except ValueError as error:
        raise KeyError from error


def group() -> None:
    raise ExceptionGroup("two", [ValueError(), ExceptionGroup("one", [down()])])


def group_that_was_caught() -> None:
    try:
        group()
    except* Down as caught:
        raise KeyError from caught


def answer() -> None:
    response = httpx.Response(503, request=httpx.Request("GET", "http://bank"))
    response.extensions[ANSWER_MARK] = ("bank", 3.0)
    response.raise_for_status()


def refused() -> None:
    raise BreakerOpen("open", retry_in=3.0, upstream="bank")


@pytest.mark.parametrize("raises", [caused, during, deep, group, group_that_was_caught, answer, refused])
def test_the_line_leads_to_the_upstream(raises: Callable[[], None]) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of many kinds
        raises()
    assert blamed_upstream(raised.value) == ("bank", 3.0)


def cut() -> None:
    try:
        raise down()
    except Down:
        raise ValueError from None


def other_cause() -> None:
    try:
        raise down()
    except Down:
        raise ValueError from KeyError()


def unmarked() -> None:
    httpx.Response(404, request=httpx.Request("GET", "http://bank")).raise_for_status()


def no_upstreams() -> None:
    raise Full("the feed is full")


@pytest.mark.parametrize("raises", [cut, other_cause, unmarked, no_upstreams])
def test_and_others_do_not(raises: Callable[[], None]) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of many kinds
        raises()
    assert blamed_upstream(raised.value) is None


def test_the_nearest_one_wins() -> None:
    near = Down()
    blame(near, "fraud")
    near.__cause__ = down()
    assert blamed_upstream(near) == ("fraud", None)
    assert own_blame(ValueError()) is None


def test_a_ring_of_causes_ends() -> None:
    one, two = ValueError(), KeyError()
    one.__cause__, two.__cause__ = two, one
    assert blamed_upstream(one) is None


def test_an_odd_response_is_no_matter() -> None:
    class Odd(Exception):
        @property
        def response(self) -> None:
            raise RuntimeError

    error = Odd()
    assert blamed_upstream(error) is None
    plain = Down()
    plain.response = "text"  # type: ignore[attr-defined]
    assert blamed_upstream(plain) is None


@pytest.mark.parametrize("kind", [Rejected, Full, BreakerOpen, RateLimited])
def test_a_refusal_keeps_what_it_says_through_a_pipe(kind: type[Rejected]) -> None:
    error = kind("words", retry_in=3.0, upstream="bank")
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(same), str(same), same.retry_in, same.upstream) == (kind, "words", 3.0, "bank")
    assert (kind("words").retry_in, kind("words").upstream) == (None, None)
