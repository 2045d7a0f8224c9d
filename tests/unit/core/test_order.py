"""Lanes of ordered keys: fixed for ever, and evenly filled."""

from collections import Counter
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidConfig
from headrace.core.order import LANES, LANES_MAX, bucket_of, checked_lanes, lane_of


@pytest.mark.parametrize(
    ("key", "of_64", "of_7"),
    [
        ("", 0, 0),
        ("a", 3, 4),
        ("customer-1", 61, 3),
        ("customer-2", 7, 0),
        ("42", 8, 3),
        ("büro", 17, 3),
        ("日本", 12, 0),
        ("\ud800", 40, 1),
        ("x" * 10_000, 35, 1),
    ],
)
def test_a_key_stays_in_its_lane_in_every_version(key: str, of_64: int, of_7: int) -> None:
    assert (bucket_of(key), bucket_of(key, 7)) == (of_64, of_7)


def test_it_is_the_remainder_of_the_common_checksum() -> None:
    """The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms."""
    assert crc32(b"123456789") == 0xCBF43926
    assert bucket_of("123456789", 256) == 0x26
    assert lane_of("123456789", 256) == "26"
    assert lane_of("") == "00"


@given(st.text(), st.integers(1, LANES_MAX))
def test_every_key_has_a_lane(key: str, lanes: int) -> None:
    assert 0 <= bucket_of(key, lanes) < lanes
    assert int(lane_of(key, lanes), 16) == bucket_of(key, lanes)
    assert len(lane_of(key, lanes)) == 2


@pytest.mark.parametrize("form", ["customer-{}", "{}", "{:08d}", "order/{}/eu"])
def test_keys_that_count_up_fill_the_lanes_evenly(form: str) -> None:
    filled = Counter(bucket_of(form.format(number)) for number in range(10_000))
    assert len(filled) == LANES
    assert max(filled.values()) < 1.5 * 10_000 / LANES


def test_the_number_of_lanes_is_checked() -> None:
    assert [checked_lanes(lanes) for lanes in (1, 64, 256)] == [1, 64, 256]
    for wrong in (0, 257, -1, 6.4, True):
        with pytest.raises(InvalidConfig, match="ordered_lanes must be a whole number between 1 and 256"):
            checked_lanes(wrong)  # type: ignore[arg-type]
