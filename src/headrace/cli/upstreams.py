"""`headrace upstreams`: which breaker is open and why, and breakers set by hand."""

from typing import TYPE_CHECKING

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import Listing, json_option
from headrace.cli.reach import Where, opened, store_options, waits
from headrace.core.errors import UnknownUpstream
from headrace.core.fleet import BreakerState, Force

if TYPE_CHECKING:
    from headrace.core.fleet_record import UpstreamRecord


@click.group("upstreams", cls=Listing)
def upstreams_command() -> None:
    """What is open, since when; open, close, disable by hand.

    Without a command, the list.
    """


@upstreams_command.command("list")
@json_option
@store_options
@waits
async def list_(where: Where, *, as_json: bool) -> None:
    """Every upstream that any process has had."""
    async with opened(where) as hr:
        found, now = await hr.upstreams(), hr.clock.wall()
    if as_json:
        from headrace.runtime.views import upstream_view

        output.write_json({"upstreams": [upstream_view(upstream, now) for upstream in found]})
        return
    columns = ("upstream", "state", "since", "calls", "failed", "next try", "holds", "processes")
    output.table(columns, [_row(upstream, now) for upstream in found], empty="No process has had an upstream yet.")
    for upstream in found:
        if upstream.reason:
            output.note(f"headrace: {upstream.name} is {upstream.state.value}: {upstream.reason}")


def _row(upstream: "UpstreamRecord", now: float) -> tuple[object, ...]:
    counts = upstream.probed if upstream.state is BreakerState.HALF_OPEN else upstream.counts
    return (
        upstream.name,
        upstream.state.value,
        output.when(upstream.since_at, now),
        counts.calls,
        counts.failures,
        output.when(upstream.retry_at, now),
        len(upstream.tasks) if upstream.holds else 0,
        upstream.processes,
    )


@upstreams_command.command("open")
@click.argument("upstreams", nargs=-1, required=True, metavar="UPSTREAM...")
@store_options
@waits
async def open_(where: Where, *, upstreams: tuple[str, ...]) -> None:
    """Let no call through, and hold what needs it."""
    await _force(where, upstreams, "open")


@upstreams_command.command()
@click.argument("upstreams", nargs=-1, required=True, metavar="UPSTREAM...")
@store_options
@waits
async def close(where: Where, *, upstreams: tuple[str, ...]) -> None:
    """Let calls through, and count them anew."""
    await _force(where, upstreams, "close")


@upstreams_command.command()
@click.argument("upstreams", nargs=-1, required=True, metavar="UPSTREAM...")
@store_options
@waits
async def disable(where: Where, *, upstreams: tuple[str, ...]) -> None:
    """Let every call through, whatever comes of it."""
    await _force(where, upstreams, "disable")


async def _force(where: Where, upstreams: tuple[str, ...], to: Force) -> None:
    async with opened(where) as hr:
        known = {upstream.name for upstream in await hr.upstreams()}
        for name in upstreams:
            try:
                found = await hr.force_upstream(name, to)
            except UnknownUpstream as error:
                there = f"there are {', '.join(sorted(known))}" if known else "no process has had one yet"
                raise Fail(str(error), there) from None
            output.line(f"{name}: {found.state.value}")
