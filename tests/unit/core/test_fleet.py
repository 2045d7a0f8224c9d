"""A fleet of processes and one document: what holds whatever order their words come in, and whatever is lost."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from headrace.core.breaker import Breaker, CallCounts
from headrace.core.fleet import PERMIT_S, SLICE_S, BreakerState, Fleet, Probe, Said, Terms, Told
from headrace.core.fleet_record import forced, record
from headrace.core.limits import RateLimit
from headrace.core.upstream import Refusal, Ticket, UpstreamCore
from headrace.core.upstream_parts import STARTS_S
from tests.effort import effort

CALL_S = 20.0
BREAKER = Breaker(
    sliding_window_size=20,
    minimum_number_of_calls=4,
    wait_duration_in_open_state=5,
    permitted_number_of_calls_in_half_open_state=3,
)


@dataclass
class Server:
    """The document and its clock."""

    terms: Terms
    now: float = 1_000.0
    text: str | None = None

    def hear(self, said: Said, terms: Terms | None = None) -> Told:
        fleet = Fleet.of(self.text, self.now)
        told = fleet.hear(said, terms or self.terms)
        self.text = fleet.text
        return told

    @property
    def fleet(self) -> Fleet:
        return Fleet.of(self.text, self.now)


def test_the_text_is_the_document() -> None:
    server = Server(Terms(BREAKER, 7))
    server.hear(Said("a", 1, CallCounts(3, 1, 1), wanted=2, tasks=("charge",)))
    assert server.text is not None
    assert Fleet.of(server.text, server.now).text == server.text
    assert server.fleet.tasks == ("charge",)
    assert server.fleet.slots == 7


def test_it_trips_on_the_sum_of_all_windows() -> None:
    server = Server(Terms(BREAKER))
    assert server.hear(Said("a", 1, CallCounts(2, 2))).state is BreakerState.CLOSED
    told = server.hear(Said("b", 1, CallCounts(2, 0)))
    assert told.state is BreakerState.OPEN
    assert told.reason == "2 of 4 calls failed (50 %, threshold 50 %)"
    assert told.retry_in_s == 5
    assert server.hear(Said("a", 1, trip="late")).generation == told.generation, "of a generation that is past"


def test_counts_of_a_process_that_is_silent_are_not_believed() -> None:
    server = Server(Terms(BREAKER))
    server.hear(Said("a", 1, CallCounts(3, 3)))
    server.now += 11
    assert server.hear(Said("b", 1, CallCounts(1, 1))).state is BreakerState.CLOSED


def opened(server: Server) -> Told:
    return server.hear(Said("a", server.fleet.generation, trip="it is broken"))


def test_half_open_grants_as_many_permits_as_there_are() -> None:
    server = Server(Terms(BREAKER))
    opened(server)
    assert server.hear(Said("b", permits=("b/1",))).permits == frozenset(), "too early"
    server.now += 5
    told = server.hear(Said("b", permits=("b/1", "b/2")))
    assert told.state is BreakerState.HALF_OPEN
    assert told.permits == {"b/1", "b/2"}
    assert server.hear(Said("c", permits=("c/1", "c/2"))).permits == {"c/1"}
    assert server.hear(Said("c", permits=("c/1", "b/7"))).permits == {"c/1"}, "not its own name"
    said = Said("b", told.generation, permits=("b/2", "b/3"), probes=(Probe("b/1", failed=False),))
    assert server.hear(said).permits == {"b/2"}, "an outcome takes the place of its permit"
    assert server.hear(said).permits == {"b/2"}, "and is counted once"
    given_back = Said("b", told.generation, permits=("b/4",), probes=(Probe("b/2", failed=None),))
    assert server.hear(given_back).permits == {"b/4"}, "one that is given back can be granted again"


def test_a_permit_whose_process_is_gone_is_granted_again() -> None:
    server = Server(Terms(BREAKER))
    opened(server)
    server.now += 5
    server.hear(Said("b", permits=("b/1", "b/2", "b/3")))
    server.now += PERMIT_S + server.terms.call_s - 1
    assert not server.hear(Said("c", permits=("c/1",))).permits
    server.now += 1
    assert server.hear(Said("c", permits=("c/1",))).permits == {"c/1"}
    stale = Said("b", server.fleet.generation, probes=(Probe("b/1", failed=False),))
    server.hear(stale)
    assert server.fleet.probed == CallCounts(), "an outcome of a permit that was taken away"


@pytest.mark.parametrize(("failures", "state"), [(1, BreakerState.CLOSED), (2, BreakerState.OPEN)])
def test_the_probes_decide(failures: int, state: BreakerState) -> None:
    server = Server(Terms(BREAKER))
    opened(server)
    server.now += 5
    names = ("b/1", "b/2", "b/3")
    told = server.hear(Said("b", permits=names))
    probes = tuple(Probe(name, failed=at < failures) for at, name in enumerate(names))
    told = server.hear(Said("b", told.generation, probes=probes))
    assert told.state is state
    assert (told.ramp_s is not None) == (state is BreakerState.CLOSED)


def test_it_opens_again_as_soon_as_that_is_certain() -> None:
    server = Server(Terms(BREAKER))
    opened(server)
    server.now += 5
    told = server.hear(Said("b", permits=("b/1", "b/2", "b/3")))
    two = (Probe("b/1", failed=True), Probe("b/2", failed=True))
    told = server.hear(Said("b", told.generation, permits=("b/3",), probes=two))
    assert (told.state, told.retry_in_s) == (BreakerState.OPEN, 5)
    assert told.reason == "probes: 2 of 2 calls failed (100 %, threshold 50 %)"


def test_half_open_does_not_last_for_ever_where_that_is_said() -> None:
    server = Server(Terms(Breaker(wait_duration_in_open_state=1, max_wait_duration_in_half_open_state=20)))
    opened(server)
    server.now += 1
    server.hear(Said("b", permits=("b/1",)))
    server.now += 20
    assert server.hear(Said("c")).state is BreakerState.OPEN


def test_by_hand() -> None:
    server = Server(Terms(BREAKER))
    for force, state in (
        ("open", BreakerState.FORCED_OPEN),
        ("disable", BreakerState.DISABLED),
        ("close", BreakerState.CLOSED),
    ):
        fleet = server.fleet
        fleet.force(force)  # type: ignore[arg-type]
        server.text = fleet.text
        told = server.hear(Said("a", server.fleet.generation - 1, trip="of the last generation"))
        assert told.state is state
    fleet = server.fleet
    fleet.force("disable")
    server.text = fleet.text
    assert server.hear(Said("a", server.fleet.generation, trip="it is broken")).state is BreakerState.DISABLED


def test_time_does_not_go_back() -> None:
    server = Server(Terms(BREAKER))
    opened(server)
    server.now -= 3_600
    told = server.hear(Said("a"))
    assert (told.since_s, told.retry_in_s) == (0, 5)


def test_slices_are_shared_and_lent() -> None:
    server = Server(Terms(max_concurrency=10))
    assert server.hear(Said("a", wanted=30)).slots == 10
    told = server.hear(Said("b", wanted=30))
    assert (told.slots, told.fair_slots) == (0, 5)
    assert server.fleet.tell("a", server.terms).fair_slots == 5, "a sees that it is to let go of five"
    assert server.hear(Said("a", held=7, wanted=30)).slots == 7, "it still uses seven"
    assert server.hear(Said("b", wanted=30)).slots == 3
    assert server.hear(Said("a", held=5, wanted=2)).slots == 5
    assert server.hear(Said("b", held=3, wanted=30)).slots == 5
    assert server.hear(Said("a", held=0, wanted=0)).slots == 0
    assert server.hear(Said("b", held=5, wanted=30)).slots == 10
    server.now += SLICE_S + server.terms.call_s
    assert server.hear(Said("c", wanted=1)).slots == 10, "b has not been heard of"


def test_where_there_are_fewer_slots_than_processes_they_take_turns() -> None:
    server = Server(Terms(max_concurrency=2))
    names = [f"p{n}" for n in range(5)]
    held = dict.fromkeys(names, 0)
    turns: Counter[str] = Counter()
    for _ in range(200):
        server.now += 0.2
        for name in names:
            fair = server.fleet.tell(name, server.terms).fair_slots
            held[name] = server.hear(Said(name, held=min(held[name], fair), wanted=4)).slots
            turns[name] += held[name]
        assert sum(held.values()) <= 2
    assert min(turns.values()) >= 50, turns
    assert sum(turns.values()) >= 350


@dataclass
class Process:
    """One that calls the upstream, and whose words may be late or lost."""

    name: str
    terms: Terms
    core: UpstreamCore
    quick: float = 0.4  # the chance of a call to end
    calls: list[Ticket] = field(default_factory=list[Ticket])
    word: tuple[float, Said, Told | None] | None = None  # on its way back: when it arrives
    kept: list[str] = field(default_factory=list[str])
    cut_off_until: float = 0.0


def process_of(name: str, terms: Terms, now: float, quick: float) -> Process:
    return Process(name, terms, UpstreamCore(name, terms, now), quick)


def deployed(terms: Terms, rng: random.Random) -> Terms:
    """The same upstream, as another version of the code defines it."""
    breaker = replace(BREAKER, permitted_number_of_calls_in_half_open_state=rng.choice((1, 2, 5)))
    return replace(terms, breaker=breaker, max_concurrency=rng.choice((None, 1, 3, 9)))


@pytest.mark.parametrize("deploys", [False, True])
@pytest.mark.parametrize("seed", range(effort(6, at_night=25)))
def test_whatever_comes_permits_and_slots_are_never_exceeded(seed: int, *, deploys: bool) -> None:
    rng = random.Random(seed)
    terms = Terms(BREAKER, rng.choice((None, 1, 5, 17)), call_s=rng.choice((1.0, CALL_S)))
    versions = (terms, deployed(terms, rng)) if deploys else (terms,)
    permitted = max(each.breaker.permitted_number_of_calls_in_half_open_state for each in versions if each.breaker)
    most = max((each.max_concurrency for each in versions if each.max_concurrency), default=0)
    server = Server(terms)
    quick = rng.choice((0.05, 0.4))
    processes = [process_of(f"p{n}", rng.choice(versions), server.now, quick) for n in range(rng.randint(1, 6))]
    broken, seen = False, set[BreakerState]()
    for _ in range(2_000):
        server.now += rng.choice((0.0, 0.01, 0.1, 0.5))
        broken = broken != (rng.random() < 0.01)
        turn(rng.choice(processes), server, rng, broken=broken)
        if rng.random() < 0.005:
            processes = [*processes[1:], successor(processes[0], server, rng.choice(versions))]
        seen.add(server.fleet.state)
        probes = [ticket for each in processes for ticket in each.calls if ticket.permit]
        assert len(probes) <= permitted  # those of the half-open before too
        assert len({ticket.permit for ticket in probes}) == len(probes), "two calls under one permit"
        assert server.fleet.probed.calls + len(server.fleet.permits) <= permitted
        assert sum(len(each.calls) for each in processes if each.terms.max_concurrency) <= most
        assert server.fleet.slots <= most
    if all(each.max_concurrency != 1 for each in versions):
        assert seen >= {BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN}


def successor(dead: Process, server: Server, terms: Terms) -> Process:
    """A process has died, with all its calls and a word on its way; whoever saw it says so."""
    fleet = server.fleet
    fleet.forget(dead.name)
    server.text = fleet.text
    return process_of(f"{dead.name}x", terms, server.now, dead.quick)


def turn(process: Process, server: Server, rng: random.Random, *, broken: bool) -> None:
    """One thing that a process does."""
    hear(process, server, rng)
    end_some(process, server, rng, broken=broken)
    core, now = process.core, server.now
    if rng.random() < 0.3 and (permit := core.take_permit()) is not None:
        process.kept.append(permit)
    for _ in range(rng.randint(0, 4)):
        answer = core.acquire(now, rng.choice((*process.kept, None)))
        if isinstance(answer, Ticket):
            process.calls.append(answer)
        elif answer.ask:
            core.ask_permits(now, rng.randint(1, 4))
            core.slots.waiting = rng.randint(0, 3)
    speak(process, server, rng)


def hear(process: Process, server: Server, rng: random.Random) -> None:
    core, now = process.core, server.now
    if process.word is not None and process.word[0] <= now:
        _, said, told = process.word
        process.word = None
        if told is not None:
            core.told(told, now, said)
    if rng.random() < 0.2 and now >= process.cut_off_until:
        core.told(server.fleet.tell(process.name, process.terms), now)


def end_some(process: Process, server: Server, rng: random.Random, *, broken: bool) -> None:
    core, now = process.core, server.now
    longest_s = process.terms.call_s - 0.5
    for ticket in [each for each in process.calls if rng.random() < process.quick or now - each.began > longest_s]:
        process.calls.remove(ticket)
        core.end(ticket, now, failed=rng.choice((broken, broken, None)))
    if process.kept and rng.random() < 0.2:
        core.end_permit(process.kept.pop(), failed=rng.choice((None, False)))


def speak(process: Process, server: Server, rng: random.Random) -> None:
    core, now = process.core, server.now
    if rng.random() < 0.01:
        process.cut_off_until = now + rng.uniform(5, 70)
    if process.word is None and core.due(now) and now >= process.cut_off_until:
        said = core.said(now)
        told = None if rng.random() < 0.1 else server.hear(said, process.terms)
        lost = rng.random() < 0.1
        process.word = (now + rng.choice((0.0, 0.3, 2.0)), said, None if lost else told)


@pytest.mark.parametrize("seed", range(effort(2, at_night=6)))
def test_no_more_starts_are_given_out_than_the_rate_allows(seed: int) -> None:
    """Over any time T at most `burst + (T + STARTS_S) * n / per`: what was drawn lapses after STARTS_S."""
    rng = random.Random(seed)
    rate = RateLimit(rng.randint(1, 30), 1, burst=rng.randint(1, 10))
    server = Server(Terms(rate=rate))
    processes = [UpstreamCore(f"p{n}", server.terms, server.now) for n in range(4)]
    made: list[float] = []
    for _ in range(1_500):
        server.now += rng.choice((0.0, 0.01, 0.05))
        core = rng.choice(processes)
        answer = core.acquire(server.now)
        if isinstance(answer, Ticket):
            made.append(server.now)
            core.end(answer, server.now, failed=False)
        else:
            assert answer.why is Refusal.RATE
            core.starts.waiting = rng.randint(1, 3)
        if core.due(server.now):
            said = core.said(server.now)
            core.told(server.hear(said), server.now, said)
            core.starts.waiting = 0
    for at, first in enumerate(made):
        for count, last in enumerate(made[at:], 1):
            assert count <= rate.at_once + (last - first + STARTS_S) * rate.n + 1
    assert len(made) >= (made[-1] - made[0]) * rate.n / 2, "and it does not stand still"


def test_what_is_shown_of_it() -> None:
    server = Server(Terms(BREAKER, 4, definition="d1"))
    server.hear(Said("a", 1, CallCounts(2, 1), wanted=1, tasks=("charge",)))
    assert server.text is not None
    shown = record("bank", server.text, server.now)
    assert (shown.name, shown.state, shown.holds, shown.processes) == ("bank", BreakerState.CLOSED, False, 1)
    assert (shown.counts, shown.slots, shown.tasks) == (CallCounts(2, 1), 4, ("charge",))
    assert shown.definitions == 1
    opened(server)
    server.terms = Terms(BREAKER, 4, definition="d2")
    server.hear(Said("b"))
    shown = record("bank", server.text, server.now)
    assert (shown.holds, shown.retry_at, shown.reason) == (True, server.now + 5, "it is broken")
    assert shown.definitions == 2, "one of them has another one"
    assert record("bank", forced("open", server.text, server.now), server.now).state is BreakerState.FORCED_OPEN
    assert record("new", forced("disable", None, 5.0), 5.0).state is BreakerState.DISABLED
    assert record("new", forced("open", None, 5.0, "it answered 410"), 5.0).reason == "it answered 410"
    assert record("new", forced("close", None, 5.0, "it answered 410"), 5.0).reason == ""


def test_a_document_that_is_older_than_what_a_process_knows_goes_on_from_there() -> None:
    """A fail-over, or a restored backup, loses a turn: nobody may stay out for ever."""
    server = Server(Terms(BREAKER))
    core = UpstreamCore("a", server.terms, server.now)
    said = core.said(server.now)
    core.told(server.hear(said), server.now, said)
    before = server.text
    opened(server)
    core.told(server.fleet.tell("a", server.terms), server.now)
    assert not isinstance(core.acquire(server.now), Ticket)
    server.text = before
    for _ in range(2):
        said = core.said(server.now)
        core.told(server.hear(said), server.now, said)
    assert core.state is BreakerState.CLOSED
    assert core.generation == server.fleet.generation > 2
    assert isinstance(core.acquire(server.now), Ticket)


def test_fewer_permitted_calls_after_a_deploy_do_not_leave_it_half_open() -> None:
    server = Server(Terms(BREAKER))
    opened(server)
    server.now += 5
    names = ("b/1", "b/2", "b/3")
    told = server.hear(Said("b", permits=names))
    probes = (Probe("b/1", failed=False), Probe("b/2", failed=False))
    server.hear(Said("b", told.generation, permits=names[2:], probes=probes))
    server.terms = Terms(replace(BREAKER, permitted_number_of_calls_in_half_open_state=1))
    assert server.hear(Said("b", told.generation, permits=names[2:])).state is BreakerState.CLOSED


def test_fewer_permitted_calls_take_no_permit_away_that_is_in_use() -> None:
    """While a deploy goes on, old and new processes may define an upstream differently."""
    server = Server(Terms(BREAKER))
    fewer = Terms(replace(BREAKER, permitted_number_of_calls_in_half_open_state=2))
    opened(server)
    server.now += 5
    assert server.hear(Said("a", permits=("a/1",))).permits == {"a/1"}
    assert server.hear(Said("b", permits=("b/1", "b/2"))).permits == {"b/1", "b/2"}
    generation = server.fleet.generation
    assert server.hear(Said("a", generation, permits=("a/1", "a/2")), fewer).permits == {"a/1"}, "no second one"
    server.hear(Said("b", generation, permits=("b/2",), probes=(Probe("b/1", failed=False),)))
    assert server.hear(Said("a", generation, permits=("a/1",)), fewer).permits == {"a/1"}
    assert server.hear(Said("b", generation, permits=("b/2", "b/3"))).permits == {"b/2"}, "a's is under way"
    server.hear(Said("a", generation, probes=(Probe("a/1", failed=False),)), fewer)
    assert server.fleet.state is BreakerState.CLOSED, "what it came to is counted"


def test_a_lower_maximum_takes_no_slot_away_that_is_in_use() -> None:
    server = Server(Terms(max_concurrency=8))
    fewer = Terms(max_concurrency=3)
    assert server.hear(Said("a", wanted=2), fewer).slots == 3
    assert server.hear(Said("b", wanted=9)).slots == 5
    assert server.hear(Said("a", held=2, wanted=2), fewer).slots == 2
    assert server.hear(Said("b", held=5, wanted=9)).slots == 6
    server.now += SLICE_S + server.terms.call_s
    assert server.hear(Said("b", held=6, wanted=9)).slots == 8
    assert server.hear(Said("a", held=2, wanted=2), fewer).slots == 0, "its slice has ended"


def test_a_process_that_says_farewell_leaves_everything_to_the_others() -> None:
    server = Server(Terms(BREAKER, 10))
    leaving = UpstreamCore("a", server.terms, server.now)
    assert leaving.farewell(server.now) is None, "nobody knows it"
    leaving.slots.waiting = 9
    said = leaving.said(server.now)
    leaving.told(server.hear(said), server.now, said)
    assert server.hear(Said("b", wanted=9)).slots == 0
    last = leaving.farewell(server.now)
    assert last is not None
    server.hear(last)
    assert set(server.fleet.members) == {"b"}
    assert server.hear(Said("b", wanted=9)).slots == 10


def test_a_process_that_is_known_to_be_dead_holds_nothing() -> None:
    server = Server(Terms(BREAKER, 10))
    server.hear(Said("a", held=0, wanted=9))
    opened(server)
    server.now += 5
    assert server.hear(Said("a", permits=("a/1", "a/2"), held=9, wanted=9)).permits == {"a/1", "a/2"}
    assert server.hear(Said("aa", permits=("aa/1", "aa/2"), wanted=10)).permits == {"aa/1"}
    fleet = server.fleet
    assert fleet.forget("a")
    assert not fleet.forget("a"), "there is nothing of it any more"
    server.text = fleet.text
    told = server.hear(Said("aa", permits=("aa/1", "aa/2", "aa/3"), wanted=10))
    assert (told.permits, told.slots) == ({"aa/1", "aa/2", "aa/3"}, 10)
    fleet = server.fleet
    fleet.force("open")
    assert fleet.late
    assert fleet.forget("aa")
    assert not fleet.late


def test_a_clock_that_was_ahead_for_a_while_holds_nothing_up() -> None:
    rate = RateLimit(10, 1)
    server = Server(Terms(BREAKER, 5, rate))
    server.now += 3_600
    opened(server)
    server.hear(Said("b", wanted=5, starts=3))
    server.now -= 3_600
    told = server.hear(Said("c", wanted=1, starts=3))
    assert told.retry_in_s == 5
    server.now += 1
    assert server.hear(Said("c", wanted=1, starts=3)).starts == 3
    server.now += 5
    assert server.hear(Said("c", permits=("c/1",))).state is BreakerState.HALF_OPEN
    server.now += SLICE_S + server.terms.call_s
    assert server.hear(Said("c", wanted=1)).slots == 5


def test_a_probe_that_is_still_under_way_counts_at_the_next_half_open_too() -> None:
    """A breaker that opens again as soon as that is certain does not wait for the last of its probes."""
    server = Server(Terms(BREAKER))
    slow = UpstreamCore("a", server.terms, server.now)
    said = slow.said(server.now)
    slow.told(server.hear(said), server.now, said)
    opened(server)
    server.now += 5
    slow.told(server.fleet.tell("a", server.terms), server.now)
    slow.ask_permits(server.now, 1)
    said = slow.said(server.now)
    slow.told(server.hear(said), server.now, said)
    under_way = slow.acquire(server.now)
    assert isinstance(under_way, Ticket)
    generation = server.fleet.generation
    server.hear(Said("b", generation, permits=("b/1", "b/2")))
    told = server.hear(Said("b", generation, probes=(Probe("b/1", failed=True), Probe("b/2", failed=True))))
    assert told.state is BreakerState.OPEN
    slow.told(server.fleet.tell("a", server.terms), server.now)
    for _ in range(3):
        server.now += 2
        said = slow.said(server.now)
        slow.told(server.hear(said), server.now, said)
    names = ("b/3", "b/4", "b/5")
    assert server.hear(Said("b", permits=names)).permits == {"b/3", "b/4"}, "two beside the one under way"
    slow.end(under_way, server.now, failed=True)
    assert slow.due(server.now)
    said = slow.said(server.now)
    slow.told(server.hear(said), server.now, said)
    assert server.hear(Said("b", server.fleet.generation, permits=names)).permits == set(names)
