"""`headrace migrate`: bring the store's schema to this version's."""

from typing import TYPE_CHECKING

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import json_option
from headrace.cli.reach import Where, sqlite_path, store_options

if TYPE_CHECKING:
    from headrace.stores.migrations import Migrated, Migration, Plan


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if something is pending.")
@click.option(
    "--sql", is_flag=True, help="Change nothing; print the SQL of what would be applied, for psql or sqlite3."
)
@click.option("--force", is_flag=True, help="Do not wait for living workers of an older version.")
@json_option
@store_options
def migrate_command(where: Where, *, check: bool, sql: bool, force: bool, as_json: bool) -> int:
    """Bring the store's schema up to date; makes the database where there is none.

    All that is applied is one transaction. What only adds may be applied while workers of an older version are at work;
    what takes away waits until they have ended: run this before a deploy, and once more after it. Exits 0 when this
    version can run on the schema.
    """
    from headrace.stores import migrate

    if sql and as_json:
        raise click.UsageError("--sql prints SQL; leave out --json")
    url = where.headrace().settings.store
    if url.startswith("memory:"):
        raise Fail("the store is memory://, which has no schema to keep", "name another with --store")
    if sql:
        migrated, text = migrate.script(url, force=force)
        output.line(text.rstrip("\n") or "-- Nothing is to be applied.")
        _explain(migrated)
        return 1 if check and migrated.before.pending else 0
    if check:
        if (path := sqlite_path(url)) is not None and not path.exists():
            raise Fail(f"there is no database at {path}", "`headrace migrate` makes it")
        return _checked(migrate.plan(url), url, as_json=as_json)
    return _applied(migrate.apply(url, force=force), as_json=as_json)


def _checked(plan: "Plan", url: str, *, as_json: bool) -> int:
    from headrace.stores.urls import shown_url

    names = [str(step) for step in plan.pending]
    if as_json:
        output.write_json({"found": plan.found, "wanted": plan.wanted, "schema": plan.found, "pending": names})
    else:
        _list("pending", plan.pending)
        output.line(f"schema {plan.found}, this version wants {plan.wanted}")
    plan.check_newer(shown_url(url))
    return 1 if names else 0


def _applied(migrated: "Migrated", *, as_json: bool) -> int:
    plan = migrated.before
    if as_json:
        told: dict[str, object] = {"found": plan.found, "wanted": plan.wanted, "schema": migrated.found}
        told["applied"] = [str(step) for step in migrated.applied]
        told["waiting"] = [str(step) for step in migrated.waiting]
        output.write_json(told)
    else:
        _list("applied", migrated.applied)
        _list("waiting", migrated.waiting)
        output.line(f"schema {migrated.found}{'' if migrated.applied or migrated.waiting else ': nothing to do'}")
    _explain(migrated)
    return 1 if migrated.lacking else 0


def _list(word: str, steps: "tuple[Migration, ...]") -> None:
    for step in steps:
        output.line(f"{word}  {step}{'' if step.expands else '  (takes away)'}")


def _explain(migrated: "Migrated") -> None:
    """For whom what waits has to wait."""
    if not migrated.waiting:
        return
    first, elders = migrated.waiting[0], ", ".join(map(str, migrated.elders))
    output.note(
        f"headrace: {first} takes away what living workers of an older version use: {elders}; run `headrace migrate`"
        " again when they have ended, or now with --force"
    )
    if migrated.lacking:
        output.note(f"headrace: this version cannot run without {migrated.lacking[0]}, which comes after it")
