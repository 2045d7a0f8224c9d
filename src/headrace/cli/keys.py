"""`headrace keys`: API keys for machines. A key is shown once; the store keeps its digest."""

from typing import TYPE_CHECKING, Any, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import Listing, json_option
from headrace.cli.reach import Where, opened, store_options, waits

if TYPE_CHECKING:
    from headrace.ports.vault import ApiKey

SCOPES: Final = ("read", "enqueue", "operate")


@click.group("keys", cls=Listing)
def keys_command() -> None:
    """API keys: create, list, revoke.

    Without a command, the list.
    """


@keys_command.command("list")
@json_option
@store_options
@waits
async def list_(where: Where, *, as_json: bool) -> None:
    """Every key, revoked ones too; never the key itself."""
    async with opened(where) as hr:
        found, now = await hr.vault.api_keys(), hr.clock.wall()
    if as_json:
        output.write_json({"keys": [key_json(key) for key in found]})
        return
    rows = [
        (
            key.id,
            key.name,
            ",".join(key.scopes),
            "revoked" if key.revoked_at is not None else "valid",
            output.when(key.created_at, now),
        )
        for key in found
    ]
    columns = ("id", "name", "scopes", "state", "created")
    output.table(columns, rows, empty="No key yet: make one with `headrace keys create NAME`.")


@keys_command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    help="What it may do; repeat it for several. Default: all three.",
)
@json_option
@store_options
@waits
async def create(where: Where, *, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make a key called NAME and show it, once."""
    from headrace.app.keys import make_key

    async with opened(where) as hr:
        key, text = await make_key(hr, name, tuple(scope for scope in SCOPES if scope in scopes or not scopes))
    if as_json:
        output.write_json({**key_json(key), "key": text})
        return
    output.line(text)
    output.note(f"headrace: key {key.id} ({', '.join(key.scopes)}); it is not shown again")


@keys_command.command()
@click.argument("key_id", metavar="ID")
@store_options
@waits
async def revoke(where: Where, *, key_id: str) -> None:
    """End a key's validity: within 2 seconds, in every process."""
    async with opened(where) as hr:
        if not await hr.vault.revoke_api_key(key_id):
            raise Fail(f"there is no key {key_id!r}", "`headrace keys list` shows them")
    output.line(f"{key_id}: revoked")


def key_json(key: "ApiKey") -> dict[str, Any]:
    """One key, as `--json` shows it."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": output.rfc3339(key.created_at),
        "revoked_at": output.rfc3339(key.revoked_at),
    }
