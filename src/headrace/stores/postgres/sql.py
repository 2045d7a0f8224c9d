"""PostgreSQL's statements, by name."""

from typing import Final

from headrace.stores.statements import load

QUERIES: Final = load("headrace.stores.postgres")


def query(name: str) -> str:
    """The text of `queries/<name>.sql`, without its comments: the same object each time."""
    return QUERIES[name]


def within(sql: str, part: str, by: str) -> str:
    """A statement with one part of it, which stands there once, in other words."""
    if sql.count(part) != 1:
        raise ValueError(f"{part!r} does not stand in it once")
    return sql.replace(part, by)
