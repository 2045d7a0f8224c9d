"""What `from headrace import …` offers is a promise: it changes only together with the list beside this file."""

from pathlib import Path

import headrace

PROMISED = Path(__file__).with_name("public_names.txt")


def test_the_public_names_are_the_promised_ones() -> None:
    promised = PROMISED.read_text("utf-8").split()
    assert list(headrace.__all__) == promised, f"a deliberate change also changes {PROMISED.name}"


def test_the_public_names_are_sorted_and_there() -> None:
    assert list(headrace.__all__) == sorted(set(headrace.__all__))
    for name in headrace.__all__:
        assert hasattr(headrace, name), name


def test_every_public_name_says_what_it_is() -> None:
    silent = [name for name in headrace.__all__ if not (getattr(headrace, name).__doc__ or "").strip()]
    assert silent == []
