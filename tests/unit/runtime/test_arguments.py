"""Arguments and results as JSON: what goes in comes out, and what cannot is refused with its name."""

import json
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field

from headrace.core.errors import InvalidArguments, InvalidConfig, NotEncodable, PayloadTooLarge
from headrace.runtime.context import JobContext
from headrace.runtime.encode import encode
from headrace.runtime.registry import Policies, TaskDef


class Colour(Enum):
    RED = "red"


class Money(BaseModel):
    amount: int = Field(alias="theAmount")
    currency: str = "EUR"

    @computed_field
    def shown(self) -> str:
        return f"{self.amount} {self.currency}"


async def charge(invoice: int, note: str = "", *, urgent: bool = False) -> int: ...


async def rich(at: datetime, wait: timedelta, who: UUID, colour: Colour, money: Money, data: bytes) -> Money: ...  # noqa: PLR0917 - a test of many


async def loose(ctx: JobContext, value: Any) -> Any: ...


CHARGE, RICH, LOOSE = (TaskDef(fn.__name__, fn, Policies(args_bytes_max=2_000)) for fn in (charge, rich, loose))


def test_arguments_are_bound_by_position_and_by_name() -> None:
    assert CHARGE.encode_args((7,), {}) == '{"invoice":7}'
    assert CHARGE.encode_args((7, "x"), {"urgent": True}) == '{"invoice":7,"note":"x","urgent":true}'
    # The order in which they are written makes no other arguments of them.
    assert CHARGE.encode_args((), {"urgent": True, "note": "x", "invoice": 7}) == CHARGE.encode_args(
        (7, "x"), {"urgent": True}
    )
    assert CHARGE.decode_args('{"invoice":7}') == {"invoice": 7}


@pytest.mark.parametrize(
    ("args", "kwargs", "fields"),
    [
        ((), {}, {"invoice": "missing"}),
        (("x",), {}, {"invoice": "valid integer"}),
        ((7, "x", True), {}, {"": "takes 2 arguments by position, not 3"}),
        ((7,), {"invoice": 8}, {"invoice": "given twice"}),
        ((7,), {"colour": 8}, {"colour": "no such parameter"}),
        ((None, 3), {"urgent": "perhaps"}, {"invoice": "integer", "note": "string", "urgent": "boolean"}),
    ],
)
def test_what_does_not_fit_is_told_by_field(args: Any, kwargs: Any, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidArguments) as caught:
        CHARGE.encode_args(args, kwargs)
    told = dict(caught.value.fields)
    assert told.keys() == fields.keys()
    for name, why in fields.items():
        assert why in told[name]
        assert name in str(caught.value)


def test_rich_types_come_back_as_they_were() -> None:
    given = {
        "at": datetime(2030, 1, 2, tzinfo=UTC),
        "wait": timedelta(seconds=1.5),
        "who": UUID(int=7),
        "colour": Colour.RED,
        "money": Money(theAmount=3),
        "data": b"\x00\xff",
    }
    assert RICH.decode_args(RICH.encode_args((), given)) == given
    assert RICH.decode_args(RICH.encode_named(json.loads(RICH.encode_args((), given)))) == given
    assert RICH.decode_result(RICH.encode_result(Money(theAmount=3))) == Money(theAmount=3)
    assert json.loads(RICH.encode_result(Money(theAmount=3)))["shown"] == "3 EUR"


class Lossy(BaseModel):
    rate: float


async def lossy(value: Lossy) -> None: ...


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "Unable to serialize unknown type"),
        ("a\0b", "NUL"),
        ({"a\0": 1}, "NUL"),
        ("\ud800", "surrogate"),
        (float("nan"), "NaN"),
        ([float("-inf")], "-Infinity"),
        (lambda: 1, "Unable to serialize"),
    ],
)
def test_what_json_cannot_carry_is_refused(value: object, why: str) -> None:
    with pytest.raises(NotEncodable, match=why):
        LOOSE.encode_args((value,), {})
    with pytest.raises(NotEncodable, match=why):
        LOOSE.encode_result(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(NotEncodable, match="contains itself"):
        LOOSE.encode_args((circle,), {})


def test_what_would_not_come_back_is_refused() -> None:
    task = TaskDef("lossy", lossy, Policies())
    with pytest.raises(NotEncodable, match="would not come back"):
        task.encode_args((Lossy(rate=float("nan")),), {})
    with pytest.raises(NotEncodable, match="surrogate"):
        CHARGE.encode_args((1, "\ud800"), {})


def test_what_only_looks_like_the_forbidden_passes() -> None:
    for text in ("\\u0000", "NaN", "-Infinity", "a\\\\u0000"):
        assert LOOSE.decode_args(LOOSE.encode_args((text,), {})) == {"value": text}


def test_the_size_is_bounded() -> None:
    with pytest.raises(PayloadTooLarge, match="over the limit of 2,000"):
        CHARGE.encode_args((1, "é" * 1_000), {})
    assert CHARGE.encode_args((1, "e" * 1_000), {})
    with pytest.raises(PayloadTooLarge):
        encode("e" * 99, "an item", 100)


def test_a_result_must_be_what_the_annotation_says() -> None:
    with pytest.raises(NotEncodable, match="result of charge is not what its annotation says"):
        CHARGE.encode_result("seven")
    with pytest.raises(NotEncodable, match="None"):
        CHARGE.encode_result(None)
    with pytest.raises(NotEncodable, match="does not fit"):
        CHARGE.decode_result('"seven"')


def test_a_type_without_json_is_refused_at_definition_by_name() -> None:
    class Socket: ...

    async def send(to: str, socket: Socket) -> None: ...
    async def receive() -> Socket: ...

    with pytest.raises(InvalidConfig, match="task send: JSON cannot carry its parameter socket"):
        TaskDef("send", send, Policies(), {"Socket": Socket})
    with pytest.raises(InvalidConfig, match="task receive: JSON cannot carry its result"):
        TaskDef("receive", receive, Policies(), {"Socket": Socket})


def test_the_signature_changes_with_the_parameters_only() -> None:
    async def other(invoice: int, note: str = "", *, urgent: bool = False) -> str: ...
    async def wider(invoice: int | str, note: str = "", *, urgent: bool = False) -> int: ...

    same = TaskDef("charge", other, Policies())
    assert CHARGE.signature == same.signature
    assert len(CHARGE.signature) == 12
    assert TaskDef("charge", wider, Policies()).signature != CHARGE.signature


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
        | TEXTS,
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=10,
    )
)  # fmt: skip
def test_any_json_value_survives(value: object) -> None:
    text = TaskDef("loose", loose, Policies()).encode_args((value,), {})
    assert json.loads(text) == {"value": value}
    assert LOOSE.decode_args(text) == {"value": value}
