"""What `headrace doctor` says of brokers: whether they can be reached, and what their messages lack."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from headrace.app.brokers import SETTINGS
from headrace.app.sinks import UNATTENDED
from headrace.cli.checks import Check, fail, ok, warn
from headrace.core.broker import Broker
from headrace.core.errors import InvalidConfig
from headrace.core.intake_events import IntakeState
from headrace.core.sink_record import SinkStatus
from headrace.core.source_record import SourceStatus
from headrace.settings import PREFIX

if TYPE_CHECKING:
    from headrace.app import Headrace

LATE_S: Final = 10.0
"""An event that waits longer is worth a word."""
CONNECT_S: Final = 3.0
ENOUGH: Final = 1_000
"""Messages of which a share says something."""


async def check_brokers(hr: "Headrace") -> AsyncIterator[Check]:
    """Every broker that has a URL, and every source."""
    try:
        known = hr.brokers.known()
    except InvalidConfig as error:
        yield fail("brokers", str(error), "")
        known = {}
    for name, found in sorted(known.items()):
        if isinstance(found, Broker):
            yield await _reached(name, found)
    for check in check_sources(await hr.source_status(), {found.name for found in hr.sources}):
        yield check
    for check in check_sinks(await hr.sinks(), set(known)):
        yield check


def check_sinks(statuses: Sequence[SinkStatus], urls: set[str]) -> Iterator[Check]:
    """Events that wait longer than they should, and those that were refused; `urls` are the brokers known here."""
    well = True
    for status in statuses:
        name = status.name
        late = status.age_s is not None and status.age_s > LATE_S
        if late and status.state == UNATTENDED:
            well = False
            mend = "start a worker: `headrace worker APP`"
            if name not in urls:
                mend = f"give the workers its URL: {_url_of(name)}"
            yield warn("sinks", f"{status.waiting} events wait for {name}, and nobody sends them", mend)
        elif late:
            well = False
            saw = f"{status.waiting} events wait for {name}, the first for {status.age_s:.0f} s"
            yield warn("sinks", f"{saw}: {status.why}" if status.why else saw, "they go out when it takes them")
        if status.parked:
            well = False
            yield warn("sinks", f"{name} has refused {status.parked} events, which are parked",
                       f"`headrace sinks list {name}` says why; then `headrace sinks retry {name}`")  # fmt: skip
    if well:
        yield ok("sinks", f"{len(statuses)}, nothing waits long" if statuses else "none")


def _url_of(name: str) -> str:
    field = SETTINGS.get(name)
    return f"hr.broker({name!r}, …)" if field is None else f"{PREFIX}{field.upper()}"


async def _reached(name: str, found: Broker) -> Check:
    """Whether one of its servers takes connections; who we are there is not asked."""
    troubles: list[str] = []
    for host, port in found.hosts:
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(host.strip("[]"), port)
            writer.close()
        except TimeoutError:
            troubles.append(f"{host}:{port} does not answer within {CONNECT_S:g} s")
        except OSError as error:
            troubles.append(f"{host}:{port} cannot be reached ({error.strerror or type(error).__name__})")
        else:
            return ok("brokers", f"{name} ({found.shown}) takes connections at {host}:{port}")
    mend = "messages and events wait until it can be reached: start it, or mend its URL"
    return fail("brokers", f"{name} ({found.shown}): {'; '.join(troubles)}", mend)


def check_sources(statuses: Sequence[SourceStatus], defined: set[str]) -> Iterator[Check]:
    """What waits, and messages that could become jobs twice, or never."""
    well = True
    for status in statuses:
        for check in (*_waits(status, status.name in defined), *_shares(status)):
            well = False
            yield check
    if well:
        yield ok("sources", f"{len(statuses)}, all taken from" if statuses else "none")


def _waits(status: SourceStatus, defined: bool) -> Iterator[Check]:
    name = status.name
    if status.state is None:
        if defined:
            queue = "" if status.queue in {None, "default"} else f" that serves the queue {status.queue}"
            yield warn("sources", f"nobody takes from {name}", f"start a worker{queue}: `headrace worker APP`")
    elif status.state == IntakeState.AWAY.value:
        yield warn("sources", f"{name} waits: {status.why or 'it is connecting'}", "it tries again by itself")
    elif status.state == IntakeState.FULL.value:
        yield warn("sources", f"{name} waits: the queue {status.queue or 'of its task'} is full",
                   "start more workers, or give the queue more room: `headrace queues`")  # fmt: skip
    elif status.state == IntakeState.STORE_AWAY.value:
        yield warn("sources", f"{name} waits for the store: {status.why}", "it tries again by itself")


def _shares(status: SourceStatus) -> Iterator[Check]:
    counts = status.counts
    if counts.unnamed:
        share = max(1, round(counts.unnamed_share * 100))
        yield warn("sources", f"{share} % of {status.name} have no id: a crash at the wrong moment runs them twice",
                   "have the publisher set message_id, or send CloudEvents, whose source and id count")  # fmt: skip
    if counts.taken + counts.repeated >= ENOUGH and counts.repeated_share > 0.5:  # noqa: PLR2004 - a half
        saw = f"{counts.repeated_share:.0%} of {status.name} had the id of a message before, and were no jobs"
        yield warn("sources", saw, "see that the publisher gives each message an id of its own")
    if counts.letters:
        yield warn("sources", f"{counts.letters} messages of {status.name} did not fit their task",
                   "`headrace jobs list --state failed --tag letter` shows why")  # fmt: skip
