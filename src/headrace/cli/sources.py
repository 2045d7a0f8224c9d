"""`headrace sources`: who takes messages from where, what it waits for, and how far it has read."""

from typing import TYPE_CHECKING, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import Listing, json_option
from headrace.cli.reach import Where, opened, store_options, waits
from headrace.core.errors import UsageError

if TYPE_CHECKING:
    from headrace.core.source_record import SourceStatus

PLACES: Final = {"earliest": 0, "group": None}


@click.group("sources", cls=Listing)
def sources_command() -> None:
    """Who takes messages from where, what waits; reset a bookmark.

    Without a command, the list.
    """


@sources_command.command("list")
@json_option
@store_options
@waits
async def list_(where: Where, *, as_json: bool) -> None:
    """Every source that has taken something, is taken from, or is defined in APP (with --app)."""
    async with opened(where) as hr:
        found, now = await hr.source_status(), hr.clock.wall()
    if as_json:
        from headrace.runtime.views import source_view

        output.write_json({"sources": [source_view(status) for status in found]})
        return
    columns = ("source", "task", "state", "processes", "taken", "repeated", "letters", "without id", "last", "read to")
    empty = "No source has taken a message yet: `@hr.on(…)` makes one, and a worker takes from it."
    output.table(columns, [_row(status, now) for status in found], empty=empty)
    for status in found:
        if status.why:
            output.note(f"headrace: {status.name} waits: {status.why}")


def _row(status: "SourceStatus", now: float) -> tuple[object, ...]:
    counts = status.counts
    return (
        status.name,
        status.task,
        status.state or "unattended",
        status.processes,
        counts.taken,
        counts.repeated,
        counts.letters,
        counts.unnamed,
        None if status.taken_age_s is None else output.when(now - status.taken_age_s, now),
        " ".join(f"{part}:{mark.next}" for part, mark in sorted(status.bookmarks.items())) or None,
    )


@sources_command.command()
@click.argument("source")
@click.option("--to", required=True, metavar="PLACE", help="earliest, group, or a place in the part of --part.")
@click.option("--part", metavar="PART", help="Only this part of the stream, as a partition of Kafka.")
@store_options
@waits
async def reset(where: Where, *, source: str, to: str, part: str | None) -> None:
    """Have SOURCE go on from another place, where Headrace keeps its bookmarks (Kafka).

    `earliest` reads all that there is again; `group` forgets the bookmark, so that it goes on where the group stands
    in Kafka, which Kafka's own tools can set while no worker of it runs. It holds from the next message on, or when the
    workers are started anew. Messages that are read again become jobs again.
    """
    from headrace.app.bridging import post_of
    from headrace.app.source_status import reset as set_back

    if to not in PLACES and not (to.isascii() and to.isdigit()):
        raise click.UsageError("--to is earliest, group, or a place: a whole number from 0 up")
    if to not in PLACES and part is None:
        raise click.UsageError("a place is one of a part: name it with --part")
    place = PLACES[to] if to in PLACES else int(to)
    async with opened(where) as hr:
        try:
            parts = await set_back(post_of(hr), source, place, part)
        except UsageError as error:
            known = ", ".join(status.name for status in await hr.source_status() if status.bookmarks)
            raise Fail(str(error), f"there are bookmarks of {known}" if known else "no source has any") from None
    for each in parts:
        output.line(f"{source} part {each}: {to}")
