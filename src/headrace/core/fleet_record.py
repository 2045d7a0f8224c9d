"""An upstream's document as people see it, and as they change it by hand."""

from dataclasses import dataclass

from headrace.core.breaker import CallCounts
from headrace.core.fleet import BY_HAND, HOLDING, SILENT_S, BreakerState, Fleet, Force
from headrace.core.model import Json


@dataclass(frozen=True, slots=True)
class UpstreamRecord:
    """One upstream, as shown. Instants are the store's."""

    name: str
    state: BreakerState
    generation: int
    reason: str  # why it is open; "" while it is closed
    since_at: float
    retry_at: float | None  # when probes are permitted, while it is open
    ramp_at: float | None  # when it closed after probes
    counts: CallCounts  # in the windows of all processes
    probed: CallCounts  # outcomes of probes, at half-open
    permits: int  # probes under way, or about to be
    slots: int  # of `max_concurrency`, given to processes
    processes: int  # that were heard of lately
    tasks: tuple[str, ...]  # that need it
    definitions: int  # that living processes have of it; more than one: they disagree

    @property
    def holds(self) -> bool:
        """Whether the tasks that need it are held, but for probes."""
        return self.state in HOLDING


def record(name: str, text: Json, now: float) -> UpstreamRecord:
    """What a document says."""
    fleet = Fleet.of(text, now)
    fresh = [one for one in fleet.members.values() if now - one.seen_at <= SILENT_S]
    return UpstreamRecord(
        name, fleet.state, fleet.generation, fleet.reason, fleet.since_at, fleet.half_open_at, fleet.ramp_at,
        fleet.counted, fleet.probed, len(fleet.permits), fleet.slots, len(fresh), fleet.tasks,
        len(list(fleet.definitions)),
    )  # fmt: skip


def forced(force: Force, text: Json | None, now: float, why: str = BY_HAND) -> Json:
    """The document after somebody has set the breaker by hand, or what else is `why`."""
    fleet = Fleet.of(text, now)
    fleet.force(force, why)
    return fleet.text
