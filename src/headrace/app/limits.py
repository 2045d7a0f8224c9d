"""Whether a limit keeps a job back, as far as this process knows its task."""

from typing import TYPE_CHECKING

from headrace.core.limits import TaskLimit, kept_back, scopes, turn_of
from headrace.core.model import JobRecord
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace


async def limit_of(hr: "Headrace", record: JobRecord) -> str | None:
    """Why a limit of its task lets a ready job wait; None: it does not."""
    found = _lane_of(hr, record)
    if found is None:
        return None
    limit, key = found
    names = scopes(limit, key)
    return kept_back(limit, key, dict(zip(names, await hr.store.scopes(names), strict=True)), record.id)


async def ahead_of(hr: "Headrace", record: JobRecord) -> JobRecord | None:
    """The job that has the turn in the ordered lane of a ready one; None: nobody, or that one."""
    found = _lane_of(hr, record)
    if found is None or not found[0].ordered:
        return None
    (state,) = await hr.store.scopes([turn_of(record.task, found[1])])
    if state.holder is None or state.holder == record.id:
        return None
    return (await hr.store.get([state.holder]))[0]


def _lane_of(hr: "Headrace", record: JobRecord) -> tuple[TaskLimit, str] | None:
    """What limits a ready job, and the key of its lane."""
    task = hr.registry.get(record.task) if record.task in hr.registry else None
    limit = None if task is None else task.limit
    if task is None or limit is None or task.by_message or record.state is not JobState.READY:
        return None
    try:
        return limit, task.lane_key(record.args)
    except Exception:  # noqa: BLE001 - the arguments may be of another version, and a key is the user's function
        return None
