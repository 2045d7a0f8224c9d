"""Jobs that match, as many as were asked for: a page of the store may be short, with more to come."""

from typing import TYPE_CHECKING

from headrace.core.model import JobFilter, JobId, JobRecord

if TYPE_CHECKING:
    from headrace.ports.store import Store


async def listed(store: "Store", where: JobFilter, after: JobId | None, limit: int) -> list[JobRecord]:
    """Newest first; fewer than `limit` only where there are no more."""
    found: list[JobRecord] = []
    while len(found) < limit:
        page = await store.find(where, after=after, limit=limit - len(found))
        found += page.jobs
        after = page.next_after
        if after is None:
            break
    return found
