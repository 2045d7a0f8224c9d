"""The PostgreSQL adapter of `ports.store`."""

from headrace.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
