"""`headrace sinks`: what waits for which broker, what was refused, and what becomes of that."""

import uuid
from typing import TYPE_CHECKING, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import Listing, json_option
from headrace.cli.reach import Where, opened, store_options, waits

if TYPE_CHECKING:
    from headrace.app import Headrace
    from headrace.core.sink_record import SinkStatus
    from headrace.ports.post import Parked

PARKED_MAX: Final = 1_000
"""Parked events on one listing."""


@click.group("sinks", cls=Listing)
def sinks_command() -> None:
    """What waits for which broker, what was refused; retry, drop.

    Without a command, the list.
    """


@sinks_command.command("list")
@click.argument("sink", required=False)
@json_option
@store_options
@waits
async def list_(where: Where, *, sink: str | None, as_json: bool) -> None:
    """Every sink that had an event; of SINK, the events that are parked."""
    async with opened(where) as hr:
        if sink is not None:
            await _known(hr, sink)
            _print_parked(await hr.post.parked(sink, 0, PARKED_MAX), hr.clock.wall(), as_json=as_json)
            return
        found = await hr.sinks()
    if as_json:
        from headrace.runtime.views import sink_view

        output.write_json({"sinks": [sink_view(status) for status in found]})
        return
    columns = ("sink", "state", "waiting", "oldest", "parked", "process")
    output.table(columns, [_row(status) for status in found], empty="No event has been published to a broker yet.")
    for status in found:
        if status.why:
            who = f"some events for {status.name} wait" if status.state == "sending" else f"{status.name} waits"
            output.note(f"headrace: {who}: {status.why}")
        if status.parked:
            output.note(
                f"headrace: {status.parked} events for {status.name} are parked: `headrace sinks list {status.name}`"
            )


def _row(status: "SinkStatus") -> tuple[object, ...]:
    waiting = f"over {status.waiting}" if status.more else status.waiting
    age = None if status.age_s is None else f"{status.age_s:.1f} s"
    return (status.name, status.state, waiting, age, status.parked, status.process)


def _print_parked(events: "list[Parked]", now: float, *, as_json: bool) -> None:
    if as_json:
        from headrace.runtime.views import parked_view

        output.write_json({"parked": [parked_view(each) for each in events]})
        return
    from headrace.runtime.views import target_text

    rows = [
        (each.place, uuid.UUID(bytes=each.event.id), target_text(each.event.target), each.event.key, each.failures,
         output.when(now - each.age_s, now), each.why)
        for each in events
    ]  # fmt: skip
    columns = ("place", "event", "target", "key", "refused", "published", "why")
    output.table(columns, rows, empty="No event of it is parked.")


@sinks_command.command()
@click.argument("sink")
@click.argument("places", nargs=-1, type=click.IntRange(1), metavar="[PLACE...]")
@store_options
@waits
async def retry(where: Where, *, sink: str, places: tuple[int, ...]) -> None:
    """Let parked events of SINK go again: those of these places, or all."""
    async with opened(where) as hr:
        await _known(hr, sink)
        count = await hr.post.unpark(sink, list(places) or None)
    output.line(f"{count} events go to {sink} again")


@sinks_command.command()
@click.argument("sink")
@click.argument("places", nargs=-1, required=True, type=click.IntRange(1), metavar="PLACE...")
@store_options
@waits
async def drop(where: Where, *, sink: str, places: tuple[int, ...]) -> None:
    """Delete parked events of SINK for good."""
    async with opened(where) as hr:
        await _known(hr, sink)
        count = await hr.post.drop(sink, list(places))
    output.line(f"{count} events of {sink} are deleted")


async def _known(hr: "Headrace", sink: str) -> None:
    names = [record.name for record in await hr.post.sinks()]
    if sink not in names:
        there = f"there are {', '.join(names)}" if names else "no event has been published yet"
        raise Fail(f"there is no sink {sink!r}", there)
