from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any, Literal, Protocol

import pytest
from pydantic import BaseModel

from headrace.core.errors import InvalidConfig
from headrace.runtime.fallbacks import check_fallback


class Receipt(BaseModel):
    id: int


class Paid(Receipt):
    pass


class Shape(Protocol):
    area: float


def returning(hint: Any) -> Callable[..., Any]:
    def fn(invoice: int) -> Any: ...

    fn.__annotations__["return"] = hint
    return fn


def standing_in(hint: Any) -> Callable[..., Any]:
    def fallback(error: Exception, invoice: int) -> Any: ...

    fallback.__annotations__["return"] = hint
    return fallback


GOOD_VALUES: list[tuple[Any, Any]] = [
    (0, int),
    (0, float),
    (None, None),
    (None, int | None),
    (Paid(id=1), Receipt),
    ([], list[int]),
    ({}, Mapping[str, int]),
    ("a", Literal["a", "b"]),
    (1, Annotated[int, "cents"]),
    (object(), Any),
    (object(), object),
    (object(), Shape),
    ("x", "Unknown"),
]
BAD_VALUES: list[tuple[Any, Any]] = [
    ("0", int),
    (0.5, int),
    (None, int),
    (0, str | None),
    ({"id": 1}, Receipt),
    (Receipt(id=1), Paid),
    ((), list[int]),
    ("c", Literal["a", "b"]),
    ("1", Annotated[int, "cents"]),
    (1, None),
]


@pytest.mark.parametrize(("value", "hint"), GOOD_VALUES)
def test_values_that_fit(value: Any, hint: Any) -> None:
    check_fallback(returning(hint), value, waits=False)


@pytest.mark.parametrize(("value", "hint"), BAD_VALUES)
def test_values_that_do_not(value: Any, hint: Any) -> None:
    with pytest.raises(InvalidConfig, match=r"fallback of returning.*returns"):
        check_fallback(returning(hint), value, waits=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (int, int),
        (int, float),
        (Paid, Receipt),
        (int, int | None),
        (None, int | None),
        (list[int], list[int]),
        (list, list[int]),
        (Any, int),
        (int, Any),
        (Literal["a"], str),
        (dict[str, int], Mapping[str, int]),
    ],
)
def test_functions_that_fit(given: Any, wanted: Any) -> None:
    check_fallback(returning(wanted), standing_in(given), waits=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (str, int),
        (Receipt, Paid),
        (int | None, int),
        (float, int),
        (list[str], list[int]),
        (None, int),
        (Literal["a"], int),
        (dict[str, int], list[int]),
    ],
)
def test_functions_that_do_not(given: Any, wanted: Any) -> None:
    with pytest.raises(InvalidConfig, match="returns"):
        check_fallback(returning(wanted), standing_in(given), waits=False)


def test_what_is_not_annotated_is_not_seen() -> None:
    def bare(invoice):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        pass

    check_fallback(bare, 7, waits=False)
    check_fallback(returning(int), lambda error, invoice: "x", waits=False)
    check_fallback(returning(dict), dict, waits=False)


def test_awaited_ones() -> None:
    async def later(error: Exception, invoice: int) -> int:
        return 0

    check_fallback(returning(int), later, waits=True)
    check_fallback(returning(int), standing_in(Awaitable[int]), waits=True)
    check_fallback(returning(int), standing_in(Coroutine[Any, Any, int]), waits=True)
    with pytest.raises(InvalidConfig, match="returns"):
        check_fallback(returning(int), standing_in(Awaitable[str]), waits=True)
    for fallback in (later, standing_in(Awaitable[int])):
        with pytest.raises(InvalidConfig, match="awaited"):
            check_fallback(returning(int), fallback, waits=False)


def test_one_that_cannot_be_called_so_is_refused() -> None:
    def price(invoice: int, note: str = "", *, cents: bool) -> int: ...

    for good in (lambda *_, **__: 0, lambda error, invoice, cents: 0, lambda error, *args, cents: 0):
        check_fallback(price, good, waits=False)
    for bad in (lambda: 0, lambda error: 0, lambda error, invoice: 0, lambda error, invoice, x, cents: 0):
        with pytest.raises(InvalidConfig, match="called with the error"):
            check_fallback(price, bad, waits=False)
