"""What breakers and limits let through, over all processes, as the services count it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.fleet import BreakerState, Fleet
from headrace.testing.sim import call_events as c
from headrace.testing.sim.checkers.base import Checker, Hearing
from headrace.testing.sim.scenario import FaultKind

if TYPE_CHECKING:
    from headrace.testing.sim.world import World

FORGOTTEN_S = 60.0


def read(text: str | None) -> Fleet:
    """A document as it was written."""
    return Fleet() if text is None else Fleet.read(text)


@dataclass(slots=True)
class Lent:
    """A permit that the store has granted."""

    generation: int
    ends_at: float  # its lease, by the store's clock
    lapsed: bool = False  # its lease ended, and it was not granted again since
    told: bool = False  # the store knows what came of it
    calls: set[int] = field(default_factory=set[int])  # that the service is busy with
    used: bool = False  # a call under it came to an outcome, or may have


class HalfOpenIsBounded(Checker):
    """Calls under permits, in flight or with an outcome, are never more than is permitted.

    Outcomes are those of one generation; in flight may also be calls of the half-open before, until
    their process says that they have ended. The service counts them, over all processes. One is
    excepted whose permit's lease had ended before the store knew of an outcome, as it does under a
    process that stands still or is dead, or whose process was forgotten, as only the dead are; and
    no call begins under such a permit, as long as the store's clock is not stepped.
    """

    name = "half-open lets through what is permitted"

    def __init__(self, world: "World") -> None:
        """Nothing is lent."""
        super().__init__(world)
        self._lent: dict[str, dict[str, Lent]] = {}
        self._permits: dict[int, Lent] = {}  # by call
        self._late: dict[str, set[str]] = {}

    def hears(self) -> Hearing:
        """Grants, and the calls under them."""
        return {
            c.Amended: self._amended,
            c.Called: self._called,
            c.Served: self._served,
            c.CallEnded: self._call_ended,
        }

    def _amended(self, event: c.Amended) -> None:
        before, after = read(event.before), read(event.after)
        lent = self._lent.setdefault(event.upstream, {})
        for permit, each in lent.items():
            each.lapsed = each.lapsed or permit.startswith(f"{event.forgot}/")
        if event.said is not None and event.said.generation == before.generation:
            for probe in event.said.probes:
                if probe.permit in before.permits and probe.failed is not None:
                    lent[probe.permit].told = True
        for each in lent.values():
            each.lapsed = each.lapsed or (not each.told and each.ends_at <= after.seen_at)
        for permit, ends_at in after.permits.items():
            known = lent.get(permit)
            if known is None or known.generation != after.generation:
                known = lent[permit] = Lent(after.generation, ends_at)
            known.ends_at, known.lapsed = ends_at, ends_at <= after.seen_at
        self._note_late(event.upstream, after)

    def _note_late(self, upstream: str, after: Fleet) -> None:
        lent = self._lent[upstream]
        for permit, ends_at in after.late.items():
            if permit in lent:
                lent[permit].ends_at, lent[permit].lapsed = ends_at, ends_at <= after.seen_at
        self._late[upstream] = set(after.late)
        for permit, each in tuple(lent.items()):
            if each.generation < after.generation and not each.calls and each.ends_at + FORGOTTEN_S < after.seen_at:
                del lent[permit]

    def _called(self, event: c.Called) -> None:
        if event.permit is None:
            return
        lent = self._lent.get(event.upstream, {})
        permit = lent.get(event.permit)
        if permit is None or permit.generation != event.generation:
            self.fail(f"call {event.call} of {event.upstream} goes under {event.permit}, which nobody granted")
            return
        lapsed = permit.lapsed or permit.ends_at <= self.world.server.wall()
        if lapsed and not self.world.scenario.has(FaultKind.STORE_CLOCK_STEP):
            self.fail(f"call {event.call} of {event.upstream} goes under {event.permit}, whose lease has ended")
        permit.calls.add(event.call)
        permit.used = True
        self._permits[event.call] = permit
        late = self._late.get(event.upstream, set())
        counted = [
            each
            for name, each in lent.items()
            if not each.lapsed
            and (each.used if each.generation == event.generation else name in late and bool(each.calls))
        ]
        assert self.world.scenario.outages is not None
        permitted = self.world.scenario.outages.plan(event.upstream).permitted
        if len(counted) > permitted:
            busy = sum(bool(each.calls) for each in counted)
            self.fail(
                f"{len(counted)} calls of {event.upstream} are probes ({busy} under way), {permitted} are permitted"
            )

    def _served(self, event: c.Served) -> None:
        permit = self._permits.get(event.call)
        if permit is not None:
            permit.calls.discard(event.call)

    def _call_ended(self, event: c.CallEnded) -> None:
        permit = self._permits.pop(event.call, None)
        if permit is not None and event.failed is None and not permit.calls:
            permit.used = False


class OutcomesAreTrue(Checker):
    """A breaker counts what calls of its generation came to, and nothing else.

    What a process says of another generation opens and closes nothing; it never counts more calls and
    failures than it had outcomes; a probe that it tells of was a call that came to that. What was
    cancelled, or was no fault of the service, is no outcome.
    """

    name = "breakers count what calls came to"

    def __init__(self, world: "World") -> None:
        """Nobody has called."""
        super().__init__(world)
        self._calls: dict[int, c.Called] = {}
        self._outcomes: dict[tuple[str, str, int], list[int]] = {}  # by upstream, process, generation: well, failed
        self._probes: dict[str, set[bool]] = {}

    def hears(self) -> Hearing:
        """Calls, and what processes say of them."""
        return {c.Amended: self._amended, c.Called: self._called, c.CallEnded: self._call_ended}

    def _called(self, event: c.Called) -> None:
        self._calls[event.call] = event

    def _call_ended(self, event: c.CallEnded) -> None:
        call = self._calls.pop(event.call, None)
        if call is None or event.failed is None:
            return
        outcomes = self._outcomes.setdefault((call.upstream, call.process, call.generation), [0, 0])
        outcomes[event.failed] += 1
        if call.permit is not None:
            self._probes.setdefault(f"{call.upstream} {call.permit}", set()).add(event.failed)

    def _amended(self, event: c.Amended) -> None:
        said = event.said
        if said is None:
            return
        before, after = read(event.before), read(event.after)
        if said.generation != before.generation:
            opened = before.state is BreakerState.CLOSED and after.state is BreakerState.OPEN
            if opened or (after.generation == before.generation and after.probed != before.probed):
                words = f"{said.process} says of generation {said.generation}"
                self.fail(f"{event.upstream} heeds what {words}, in generation {before.generation}")
        known = [self._outcomes.get((event.upstream, said.process, of), (0, 0)) for of in {0, said.generation}]
        well, failed = sum(each[0] for each in known), sum(each[1] for each in known)  # 0: before it was heard of
        if said.counts.calls > well + failed or said.counts.failures > failed:
            heard = f"{said.counts.failures} of {said.counts.calls} calls of {event.upstream} failed"
            self.fail(f"{said.process} says that {heard}; {failed} of {well + failed} did")
        for probe in said.probes:
            if probe.failed not in {None, *self._probes.get(f"{event.upstream} {probe.permit}", ())}:
                self.fail(f"the probe {probe.permit} of {event.upstream} never came to what is told of it")


class CallsAreBounded(Checker):
    """Calls at once are never more than `max_concurrency`, over all processes that have one.

    The service counts them. One is excepted that was under way when its process's slice ended, by the
    store's clock: its process stood still, was dead or cut off for longer than a slice and a call last. So
    is one whose process was forgotten, as only the dead are.
    """

    name = "calls at once fit max_concurrency"

    def __init__(self, world: "World") -> None:
        """Nobody calls."""
        super().__init__(world)
        self._busy: dict[str, dict[int, str]] = {}  # by upstream: calls, and their processes
        self._until: dict[tuple[str, str], float] = {}  # of upstreams and processes: when the slice ends
        self._upstream: dict[int, str] = {}

    def hears(self) -> Hearing:
        """Slices, and calls."""
        return {c.Amended: self._amended, c.Called: self._called, c.Served: self._served}

    def _amended(self, event: c.Amended) -> None:
        after = read(event.after)
        busy = self._busy.get(event.upstream, {})
        for call, process in tuple(busy.items()):
            if process == event.forgot or self._until.get((event.upstream, process), 0.0) <= after.seen_at:
                del busy[call]
        for process, member in after.members.items():
            self._until[event.upstream, process] = member.until_at

    def _called(self, event: c.Called) -> None:
        outages = self.world.scenario.outages
        assert outages is not None
        most = outages.plan(event.upstream).most
        if most is None or outages.policy(event.upstream, event.version).terms.max_concurrency is None:
            return
        if self._until.get((event.upstream, event.process), 0.0) <= self.world.server.wall() and not (
            self.world.scenario.has(FaultKind.STORE_CLOCK_STEP)
        ):
            self.fail(f"call {event.call} of {event.upstream} goes, and the slice of {event.process} has ended")
        busy = self._busy.setdefault(event.upstream, {})
        busy[event.call] = event.process
        self._upstream[event.call] = event.upstream
        if len(busy) > most:
            self.fail(f"{len(busy)} calls of {event.upstream} are under way, and {most} may be")

    def _served(self, event: c.Served) -> None:
        upstream = self._upstream.pop(event.call, None)
        if upstream is not None:
            self._busy[upstream].pop(event.call, None)
