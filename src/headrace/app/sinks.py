"""How every sink stands: what waits in its outbox, and what the process that sends to it says."""

from typing import TYPE_CHECKING

from headrace.core.sink_record import SinkStatus
from headrace.ports.post import WAITING_MAX, Post
from headrace.runtime.sink_reports import reports

if TYPE_CHECKING:
    from headrace.ports.store import Store

IDLE, UNATTENDED = "idle", "unattended"


async def statuses(store: "Store") -> list[SinkStatus]:
    """Every sink that had an event, by name."""
    if not isinstance(store, Post):
        return []
    now, documents = await store.upstreams()
    said = reports(documents, now)
    found: list[SinkStatus] = []
    for record in await store.sinks():
        report = said.get(record.name)
        state, why = (UNATTENDED if record.waiting else IDLE, "")
        if report is not None and record.waiting:
            state, why = report.health.state.value, report.health.why
        found.append(
            SinkStatus(
                record.name,
                record.waiting,
                record.waiting >= WAITING_MAX,
                record.age_s,
                record.parked,
                state,
                why,
                None if report is None else report.process,
            )
        )
    return found
