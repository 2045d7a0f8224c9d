"""The frames that wait for a reader: their order, their bytes, and what can be taken back."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.outbox import Outbox, Ticket


def test_frames_leave_in_the_order_in_which_they_came_one_at_a_time() -> None:
    out = Outbox(0.0)
    for text in ("a", "b"):
        out.push(1, text)
    assert out.next_frame(1.0) == "a"
    assert out.next_frame(1.0) is None
    out.written(2.0)
    assert out.next_frame(2.0) == "b"
    out.written(3.0)
    assert out.next_frame(3.0) is None


def test_it_is_idle_only_when_nothing_waits_and_nothing_is_being_written() -> None:
    out = Outbox(0.0)
    assert out.idle
    out.push(1, "a")
    assert not out.idle
    out.next_frame(1.0)
    assert not out.idle
    out.written(2.0)
    assert out.idle


def test_it_knows_since_when_it_writes_and_when_it_last_sent() -> None:
    out = Outbox(5.0)
    assert (out.sent_at, out.writing_since) == (5.0, None)
    out.push(1, "a")
    out.next_frame(6.0)
    assert (out.sent_at, out.writing_since) == (5.0, 6.0)
    out.written(7.0)
    assert (out.sent_at, out.writing_since) == (7.0, None)


def test_bytes_are_counted_as_they_go_over_the_wire() -> None:
    out = Outbox(0.0)
    out.push(1, "é☕")
    assert out.waiting_bytes == 5


def test_what_waits_is_taken_back_and_what_was_sent_stays_sent() -> None:
    out = Outbox(0.0)
    first, second = out.push(1, "a"), out.push(1, "bb")
    assert out.next_frame(0.0) == "a"
    for ticket in (first, second, second):
        out.take_back(ticket)
    assert out.waiting_bytes == 0
    out.written(1.0)
    assert out.idle


def test_forgetting_a_subscription_leaves_the_frames_of_the_others() -> None:
    out = Outbox(0.0)
    for ref, text in ((1, "a"), (2, "bb"), (1, "ccc"), (3, "dddd")):
        out.push(ref, text)
    out.forget(1)
    assert out.waiting_bytes == 6
    assert drained(out) == ["bb", "dddd"]


def test_after_clearing_nothing_more_is_sent() -> None:
    out = Outbox(0.0)
    out.push(1, "a")
    out.clear()
    assert (out.waiting_bytes, out.next_frame(0.0)) == (0, None)


def drained(out: Outbox) -> list[str]:
    texts: list[str] = []
    while (text := out.next_frame(0.0)) is not None:
        texts.append(text)
        out.written(0.0)
    return texts


@dataclass(frozen=True)
class Waiting:
    """One frame as a plain list of them would hold it."""

    ticket: Ticket
    ref: int
    text: str


STEPS = st.lists(
    st.tuples(st.just("push"), st.integers(1, 3), st.text(max_size=4))
    | st.tuples(st.sampled_from(["take back", "forget"]), st.integers(1, 8), st.just(""))
    | st.tuples(st.sampled_from(["next", "written", "clear"]), st.just(0), st.just("")),
    max_size=40,
)


@given(STEPS)
def test_whatever_is_taken_back_the_rest_leaves_in_order_and_is_counted(steps: list[tuple[str, int, str]]) -> None:
    out, model, writing = Outbox(0.0), list[Waiting](), False
    for step, number, text in steps:
        match step:
            case "push":
                ticket = out.push(number, text)
                assert all(frame.ticket != ticket for frame in model)
                model.append(Waiting(ticket, number, text))
            case "take back":
                out.take_back(number)
                model = [frame for frame in model if frame.ticket != number]
            case "forget":
                out.forget(number)
                model = [frame for frame in model if frame.ref != number]
            case "clear":
                out.clear()
                model = []
            case "written" if writing:
                out.written(0.0)
                writing = False
            case _:
                sent = out.next_frame(0.0)
                assert sent == (None if writing or not model else model.pop(0).text)
                writing = writing or sent is not None
        assert out.waiting_bytes == sum(len(frame.text.encode("utf-8", "surrogatepass")) for frame in model)
        assert out.idle == (not model and not writing)
    if writing:
        out.written(0.0)
    assert drained(out) == [frame.text for frame in model]
