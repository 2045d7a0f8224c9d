"""SQLite's statements, by name."""

from typing import Final

from headrace.stores.statements import load

QUERIES: Final = load("headrace.stores.sqlite")


def query(name: str) -> str:
    """The text of `queries/<name>.sql`, without its comments: the same object each time."""
    return QUERIES[name]
