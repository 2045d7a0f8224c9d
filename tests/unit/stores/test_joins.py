"""Drivers that a user does not have are not needed."""

import subprocess
import sys
import textwrap

import pytest

POSTGRES = """
    from headrace.stores.postgres.join import Home, join
    from headrace.stores.postgres.lines import Lines
    from headrace.core.errors import UsageError

    def refused(using: object) -> str:
        home = Home("db", "epoch", lambda: None, Lines(lambda: 0.0), 1.0, lambda tx: None)
        try:
            join(home, using)
        except UsageError as error:
            return str(error)
"""


def run(*parts: str) -> None:
    script = "".join(textwrap.dedent(part) for part in parts)
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("store", ["headrace.stores.sqlite", "headrace.stores.postgres"])
def test_a_store_loads_no_driver_but_its_own(store: str) -> None:
    run(
        f"""
        import sys
        import {store}.store, {store}.join
        assert not sys.modules.keys() & {{"sqlalchemy", "psycopg", "psycopg2", "aiosqlite"}}
        """
    )


def test_an_object_of_no_driver_is_refused_without_any() -> None:
    run(
        POSTGRES,
        "assert 'pass an asyncpg connection' in refused(object())",
        "\nimport sys; assert 'psycopg' not in sys.modules",
    )


def test_sqlalchemy_without_greenlet_is_enough_for_what_is_synchronous() -> None:
    run(
        "import sys; sys.modules['greenlet'] = None",
        POSTGRES,
        """
        import asyncio, sqlite3
        from sqlalchemy import create_engine
        from sqlalchemy.orm import Session
        from headrace.stores.alchemy import bound

        with Session(create_engine("sqlite://")) as session:
            assert bound(session) is session
            assert "sqlite by pysqlite" in refused(session)
        assert "AsyncSession" in refused(object())
        """,
    )
