"""What waits to be sent fits into one message, whatever it is."""

import pytest

from headrace.notifiers.listeners import EVERYTHING
from headrace.notifiers.outbox import HINTS_MAX, MESSAGE_BYTES_MAX, Outbox, read, written

JOBS = [f"job:{number:032x}" for number in range(10_000)]


def test_what_goes_in_comes_out_once() -> None:
    outbox = Outbox()
    assert not outbox
    assert outbox.add(["queue:mail", "cancel"])
    assert not outbox.add(["queue:mail", JOBS[0]])
    assert outbox
    assert read(outbox.take()) == {"queue:mail", "cancel", JOBS[0]}
    assert not outbox
    assert outbox.take() == ""
    assert outbox.add(["cancel"])
    outbox.clear()
    assert not outbox
    assert not outbox.add([])


@pytest.mark.parametrize(
    "name", ["two words", 'smith\'s \\ "sons"', "100 %", "Größe", "北京", "*", "?", "\ud800", "a\nb"]
)
def test_any_name_is_printable_ascii_without_quotes(name: str) -> None:
    message = written([f"queue:{name}"])
    assert message.isascii()
    assert message.isprintable()
    assert not set(" '\"\\") & set(message)
    assert read(message) == {f"queue:{name}".replace("\ud800", "?")}


@pytest.mark.parametrize(
    ("hints", "left"),
    [
        (JOBS[:HINTS_MAX], set(JOBS[:HINTS_MAX])),
        ([*JOBS[: HINTS_MAX + 1], "queue:mail"], {"job:*", "queue:mail"}),
        ([*JOBS, *(f"queue:{number}" for number in range(10_000)), "cancel"], {"job:*", "queue:*", "cancel"}),
        ([*JOBS[:9], *(f"queue:{number}{'城' * 60}" for number in range(20))], {"job:*", "queue:*"}),
        ([f"queue:{number}{'城' * 60}" for number in range(20)], {"queue:*"}),
        ([f"other:{number}" for number in range(10_000)], {"other:*"}),
        (["other:" + "x" * MESSAGE_BYTES_MAX], EVERYTHING),
    ],
)
def test_too_many_become_one(hints: list[str], left: set[str]) -> None:
    outbox = Outbox()
    for hint in hints:
        outbox.add([hint])
    message = outbox.take()
    assert len(message) <= MESSAGE_BYTES_MAX
    assert read(message) == left


def test_it_stays_small() -> None:
    outbox = Outbox()
    outbox.add(JOBS)
    outbox.add(JOBS)
    assert outbox._hints == {"job:*"}
