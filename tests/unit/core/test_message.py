"""Batches that are cut and joined still say where each part stands."""

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.message import Batch, Bookmark, Mark, Message, bounded_headers, digest_of

PARTS = ("0", "1", "2")
GAPS = st.lists(st.tuples(st.sampled_from(PARTS), st.integers(1, 3)), max_size=30)


def kafka(gaps: list[tuple[str, int]], known: dict[str, int | None] | None = None) -> Batch:
    """Messages of three parts; places rise by the gaps."""
    at: dict[str, int] = {part: (known or {}).get(part) or 0 for part in PARTS}
    messages = list[Message]()
    for number, (part, gap) in enumerate(gaps):
        at[part] += gap
        messages.append(Message("s", str(at[part]), part, at=number / 1000, body=b"x" * gap))
    there = {message.part for message in messages}
    stood = {part: (known or {}).get(part) for part in PARTS if part in there}
    return Batch(tuple(messages), tuple(range(len(messages))), stood)


def test_marks_of_a_batch() -> None:
    batch = kafka([("0", 1), ("1", 2), ("0", 3)], {"0": 7})
    assert batch.marks == {"0": Mark(7, 12, 2), "1": Mark(None, 3, 1)}
    assert (len(batch), batch.body_bytes) == (3, 6)
    assert Batch((Message("s", "x", ""),), (1,)).marks == {}, "a broker that counts for us"
    assert Batch((Message("s", "9", "0"),), (1,), {"0": None}).marks == {"0": Mark(None, 10)}, "no time is known"
    assert Bookmark(3) == Bookmark(3, None)


@given(GAPS, st.integers(0, 31), st.booleans())
def test_two_pieces_move_the_bookmarks_as_the_whole_does(gaps: list[tuple[str, int]], at: int, fresh: bool) -> None:
    batch = kafka(gaps, None if fresh else {"0": 5, "1": 0})
    head, tail = batch.split(at)
    stood = dict(batch.known)
    for piece in (head, tail):
        for part, mark in piece.marks.items():
            assert mark.known == stood[part], "the second begins where the first ended"
            stood[part] = mark.next
    assert stood == dict(batch.known) | {part: mark.next for part, mark in batch.marks.items()}
    assert (head.messages + tail.messages, head.receipts + tail.receipts) == (batch.messages, batch.receipts)
    joined = head.join(tail)
    assert (joined.messages, joined.receipts, joined.marks) == (batch.messages, batch.receipts, batch.marks)


@given(GAPS, st.frozensets(st.sampled_from(PARTS)))
def test_without_some_parts(gaps: list[tuple[str, int]], parts: frozenset[str]) -> None:
    batch = kafka(gaps)
    kept = batch.without(parts)
    assert kept.marks == {part: mark for part, mark in batch.marks.items() if part not in parts}
    assert [batch.messages[at] for at in kept.receipts] == list(kept.messages)  # type: ignore[call-overload]
    assert parts.isdisjoint(kept.known)
    assert Batch(batch.messages).without(parts).messages == kept.messages, "without receipts too"


def test_what_is_printed_has_no_body() -> None:
    message = Message("s", headers={"a": "b"}, body=b"s3cret")
    assert "s3cret" not in repr(Batch((message,), (b"s3cret",)))
    assert {message: 1}[message] == 1


def test_a_digest_is_stable_and_short() -> None:
    assert (
        digest_of("kafka").hex() == blake2b(b"kafka", digest_size=16).hexdigest() == "833068fe5fe95e8ac51471f54a871e3e"
    )
    assert len(digest_of("\ud800")) == 16


def test_headers_are_bounded() -> None:
    assert bounded_headers({"a": "b", "c": ""}) == {"a": "b", "c": ""}
    many = bounded_headers({f"h{number}": "x" for number in range(10_000)})
    assert list(many) == [f"h{number}" for number in range(64)]
    long = bounded_headers({"a": "b", "big": "é" * 10_000, "c": "d"})
    assert list(long) == ["a", "big"]
    assert long["big"] == "é" * 4093 + "…"
    assert bounded_headers({"n" * 9000: "v", "c": "d"}) == {}


@given(st.dictionaries(st.text(max_size=2000), st.text(max_size=9000), max_size=5))
def test_headers_never_take_more_than_their_room(headers: dict[str, str]) -> None:
    kept = bounded_headers(headers)
    assert sum(len((name + value).encode("utf-8", "surrogatepass")) for name, value in kept.items()) <= 8 * 1024 + 3
    assert list(kept) == list(headers)[: len(kept)]
