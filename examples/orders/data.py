"""What the three services have in common: what an order is, and a database of each one's own."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, Field

FOLDER = Path(os.environ.get("ORDERS_DIR", "."))


class Order(BaseModel):
    """An order, as it is placed and as it travels."""

    id: str = Field(min_length=1, max_length=64)
    customer: str = Field(min_length=1, max_length=64)
    cents: int = Field(gt=0, le=1_000_000)


class Payment(BaseModel):
    """That an order was paid, and how much."""

    order: str
    cents: int


def store(service: str) -> str:
    """Headrace's store of a service; the service's own tables are in the same file."""
    return f"sqlite:///{FOLDER / service}.db"


@contextmanager
def database(service: str) -> Iterator[sqlite3.Connection]:
    """A connection; what was not committed is rolled back."""
    connection = sqlite3.connect(FOLDER / f"{service}.db", timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def create(service: str, *tables: str) -> None:
    """Make the service's own tables, once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with database(service) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for table in tables:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        connection.commit()
