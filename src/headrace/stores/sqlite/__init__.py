"""The SQLite store; see ADR 3."""

from headrace.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
