"""`headrace doctor`: what is wrong here, and the command that mends it."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli import output
from headrace.cli.checks import SPOOL, Check, Grade, check_files_limit, check_variables, fail, ok, warn
from headrace.cli.fail import Fail
from headrace.cli.params import json_option
from headrace.cli.reach import Where, run, sqlite_path, store_options
from headrace.core.errors import HeadraceError, SchemaMismatch

if TYPE_CHECKING:
    from headrace.app import Headrace


@click.command("doctor")
@json_option
@store_options
def doctor_command(where: Where, *, as_json: bool) -> int:
    """What is wrong here, and the command that mends it.

    Exits 1 if anything fails; a warning is not a failure.
    """
    logging.getLogger("headrace").addHandler(logging.NullHandler())  # what it would say is a check here
    found: list[Check] = []
    person = not as_json
    for check in _all(where):
        found.append(check)
        if person:
            _print(check)
    counts = Counter(check.grade for check in found)
    if as_json:
        checks = [{"name": c.name, "grade": c.grade.value, "saw": c.saw, "mend": c.mend or None} for c in found]
        output.write_json({"ok": not counts[Grade.FAIL], "checks": checks})
    else:
        output.line()
        output.line(", ".join(f"{counts[grade]} {grade.value}" for grade in Grade))
    return 1 if counts[Grade.FAIL] else 0


def _print(check: Check) -> None:
    head = output.coloured(check.grade.value) + " " * (5 - len(check.grade.value))
    output.line(f"{head} {check.name}: {check.saw}")
    if check.mend:
        output.line(f"      {check.mend}")


def _all(where: Where) -> Iterator[Check]:
    from headrace.stores.urls import shown_url

    yield from check_variables()
    yield from check_files_limit()
    try:
        hr = where.headrace()
    except Fail as error:
        yield fail("app" if where.target else "settings", str(error), error.detail.strip())
        return
    except HeadraceError as error:
        yield fail("settings", str(error), "`headrace settings` lists what there is")
        return
    url = hr.settings.store
    yield ok("store", shown_url(url))
    seen = False
    for check in _store(hr):
        seen = seen or check.name == SPOOL
        yield check
    if not seen:
        yield from _spool(hr)


def _store(hr: "Headrace") -> Iterator[Check]:
    from headrace.stores.urls import MEMORY

    url = hr.settings.store
    path = sqlite_path(url)
    if path is not None:
        yield from _sqlite(hr, path)
    elif url == MEMORY:
        yield warn("store", "jobs are kept in memory and end with the process",
                   "name a file or a database: HEADRACE_STORE=sqlite:///…, postgresql://…")  # fmt: skip
    else:
        yield from _postgres(hr)


def _spool(hr: "Headrace") -> Iterator[Check]:
    """What waits for the store; an open one tells which files are for it, else its address does."""
    spooling = hr.services.spooling
    if spooling.spool is not None:
        from headrace.cli.checks_spool import check_spool

        yield from check_spool(spooling.spool.directory, spooling.head())


def _sqlite(hr: "Headrace", path: Path) -> Iterator[Check]:
    from headrace.cli.checks_sqlite import (
        check_file,
        check_lock,
        check_move,
        check_side_directory,
        check_sqlite_version,
    )

    yield from check_sqlite_version()
    before = list(check_file(path))
    yield from before
    yield from check_side_directory(path)
    yield from _check_secrets(hr)
    if path.is_file() and all(check.grade is not Grade.FAIL for check in before):
        yield from check_lock(path)
        yield from check_move(path)
        yield from run(_opened(hr, ok("schema", "as this version wants it")))


def _postgres(hr: "Headrace") -> Iterator[Check]:
    from headrace.cli import checks_postgres
    from headrace.stores.postgres.inspection import examine

    yield from _check_secrets(hr)
    try:
        seen = run(examine(hr.settings.store, hr.clock.wall))
    except HeadraceError as error:
        yield fail("database", str(error), "")
        return
    found = list(checks_postgres.judge(seen, hr.settings.postgres_connections))
    yield from found
    if hr.notifier.health.kind == "postgres":
        yield run(checks_postgres.check_listen(hr.settings))
    yield run(checks_postgres.check_life(hr.settings, pooled=seen.pooled))
    if seen.plan.found and all(check.grade is not Grade.FAIL for check in found):
        yield from run(_opened(hr))


async def _opened(hr: "Headrace", *then: Check) -> list[Check]:
    """What an open store tells, after what is so if it opens."""
    from headrace.cli.checks_brokers import check_brokers
    from headrace.cli.checks_fleet import check_fleet
    from headrace.cli.checks_notifier import check_notifier

    try:
        await hr.open()
    except HeadraceError as error:
        return [fail("schema" if isinstance(error, SchemaMismatch) else "store", str(error), "")]
    try:
        bell = [] if hr.notifier.health.kind == "postgres" else [await check_notifier(hr)]
        fleet = [check async for check in check_fleet(hr)]
        return [*then, *bell, *fleet, *[check async for check in check_brokers(hr)], *_spool(hr)]
    except HeadraceError as error:
        return [fail("store", str(error), "")]
    finally:
        await hr.close()


def _check_secrets(hr: "Headrace") -> Iterator[Check]:
    secret, previous = hr.settings.secret, hr.settings.secret_previous
    if previous is not None and secret is None:
        yield fail("secret", "HEADRACE_SECRET_PREVIOUS is set without HEADRACE_SECRET", "set the new one too")
    elif previous is not None and previous == secret:
        yield warn("secret", "HEADRACE_SECRET_PREVIOUS is the same as HEADRACE_SECRET", "put the former one there")
    elif previous is not None:
        yield warn("secret", "two secrets are accepted: a rotation is under way",
                   "unset HEADRACE_SECRET_PREVIOUS when the old tokens have expired")  # fmt: skip
    else:
        yield ok("secret", "from HEADRACE_SECRET" if secret is not None else "the store's own")
