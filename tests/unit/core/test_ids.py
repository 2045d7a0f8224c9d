import uuid

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.ids import IdMaker, as_uuid

NOISE = st.binary(min_size=8, max_size=16)
WALL = st.floats(0, 4e9)


@given(WALL, NOISE)
def test_an_id_is_a_uuid_of_version_7(now_at: float, noise: bytes) -> None:
    made = as_uuid(IdMaker().make(now_at, noise))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(now_at * 1000)


@given(st.lists(st.tuples(WALL, NOISE), min_size=2))
def test_ids_of_one_maker_rise_whatever_the_clock_does(calls: list[tuple[float, bytes]]) -> None:
    maker = IdMaker()
    ids = [maker.make(now_at, noise) for now_at, noise in calls]
    assert ids == sorted(set(ids))


def test_ids_rise_when_a_millisecond_is_used_up() -> None:
    maker = IdMaker()
    ids = [maker.make(1.0, b"\xff" * 8) for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {as_uuid(one).version for one in ids} == {7}
    assert as_uuid(ids[-1]).int >> 80 == 1002


@given(NOISE, NOISE)
def test_two_makers_differ_by_their_noise(one: bytes, other: bytes) -> None:
    same = IdMaker().make(1.0, one) == IdMaker().make(1.0, other)
    assert same is ((one[0] & 0x3F, one[1:8]) == (other[0] & 0x3F, other[1:8]))
