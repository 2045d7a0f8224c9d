"""Whether a limit keeps a job back, as far as this process knows its task."""

from typing import TYPE_CHECKING

from headrace.core.limits import kept_back, scopes
from headrace.core.model import JobRecord
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace


async def limit_of(hr: "Headrace", record: JobRecord) -> str | None:
    """Why a limit of its task lets a ready job wait; None: it does not."""
    limit = hr.registry.get(record.task).limit if record.task in hr.registry else None
    if limit is None or record.state is not JobState.READY:
        return None
    try:
        key = hr.registry.get(record.task).lane_key(record.args)
    except Exception:  # noqa: BLE001 - the arguments may be of another version, and a key is the user's function
        return None
    names = scopes(limit, key)
    return kept_back(limit, key, dict(zip(names, await hr.store.scopes(names), strict=True)), record.id)
