"""How every source stands: what the store keeps of it, what its processes reported, what is defined here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.core.errors import UsageError
from headrace.core.intake_events import IntakeState
from headrace.core.source_record import SourceCounts, SourceStatus
from headrace.ports.post import Post, SourceRecord
from headrace.runtime.sources import reports

if TYPE_CHECKING:
    from headrace.app.consuming import SourceTable
    from headrace.ports.store import Store

ORDER: Final = (
    IntakeState.CONSUMING,
    IntakeState.FULL,
    IntakeState.STORE_AWAY,
    IntakeState.AWAY,
    IntakeState.DRAINING,
)
"""Of several processes, the first of these is what their source is."""
COUNTED: Final = ("taken", "repeated", "letters", "unnamed")


async def statuses(store: "Store", table: "SourceTable") -> list[SourceStatus]:
    """Every source that is defined here, has taken something or is taken from, by name."""
    now, documents = await store.upstreams()
    said = reports(documents, now)
    kept = {record.name: record for record in await store.sources()} if isinstance(store, Post) else {}
    names = sorted({*(found.name for found in table), *kept, *(name for name, each in said.items() if each)})
    return [_status(name, table, kept.get(name), list(said.get(name, {}).values())) for name in names]


def _status(
    name: str, table: "SourceTable", record: SourceRecord | None, said: Sequence[Mapping[str, Any]]
) -> SourceStatus:
    found = table.get(name)
    by_state: dict[str, Mapping[str, Any]] = {each["state"]: each for each in said}
    state = next((each.value for each in ORDER if each.value in by_state), None)
    return SourceStatus(
        name,
        None if found is None else found.task.name,
        None if found is None else found.task.queue,
        state,
        str(by_state[state]["why"]) if state is not None else "",
        len(said),
        SourceCounts(*(sum(int(each.get(word, 0)) for each in said) for word in COUNTED)),
        {} if record is None else record.bookmarks,
        None if record is None else record.taken_age_s,
    )


async def reset(post: Post, source: str, place: int | None, part: str | None = None) -> list[str]:
    """Set where a source goes on, in one part or in all that it has read; None: as if it had never read. The parts.

    Raises:
        UsageError: it has no bookmark there.
    """
    known = await post.bookmarks(source)
    if part is not None and part not in known:
        raise UsageError(f"{source} has no bookmark of part {part}; it has {', '.join(sorted(known)) or 'none'}")
    if not known:
        raise UsageError(f"{source} has no bookmarks: its broker counts what was taken, or nothing was yet")
    parts = sorted(known) if part is None else [part]
    for each in parts:
        await post.put_bookmark(source, each, place)
    return parts
