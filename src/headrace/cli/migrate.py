"""`headrace migrate`: bring the store's schema to this version's."""

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import json_option
from headrace.cli.reach import Where, sqlite_path, store_options


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if something is pending.")
@json_option
@store_options
def migrate_command(where: Where, *, check: bool, as_json: bool) -> int:
    """Bring the store's schema up to date; makes the database where there is none.

    Each migration is one transaction. Stop the workers of the older version before.
    """
    from headrace.stores import migrate

    hr = where.headrace()
    url = hr.settings.store
    if url.startswith("memory:"):
        raise Fail("the store is memory://, which has no schema to keep", "name another with --store")
    if check and (path := sqlite_path(url)) is not None and not path.exists():
        raise Fail(f"there is no database at {path}", "`headrace migrate` makes it")
    plan = migrate.plan(url) if check else migrate.apply(url)
    names = [f"{step.number:04d} {step.name}" for step in plan.pending]
    after = plan.found if check else max(plan.found, plan.wanted)
    if as_json:
        output.write_json(
            {"found": plan.found, "wanted": plan.wanted, "schema": after, "pending" if check else "applied": names}
        )
    elif check:
        for name in names:
            output.line(f"pending  {name}")
        output.line(f"schema {plan.found}, this version wants {plan.wanted}")
    else:
        for name in names:
            output.line(f"applied  {name}")
        output.line(f"schema {after}{'' if names else ': nothing to do'}")
    if check and plan.found > plan.wanted:
        plan.check(url)
    return 1 if check and names else 0
