"""Messages and events through trouble: nothing is lost, doubled or out of order; and safeguards are missed."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from headrace.bridges.memory.broker import MemoryBroker, MemorySink
from headrace.core.event import Outgoing
from headrace.core.intake_events import Effect, Receive
from headrace.core.relay_events import Confirmed, Unsent
from headrace.ports.bridge import SinkEnd
from headrace.ports.post import Intake, Received
from headrace.runtime.intake import IntakeShell
from headrace.runtime.relay import Relay
from headrace.stores.memory.post import MemoryPost
from headrace.testing.sim.bridged import COMES, GOES, LOST, MESSAGES, ONCE, SOURCES, run

pytestmark = pytest.mark.timeout(120)
SEEDS = 40
BOUND = 60
Mutant = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("seeds", [range(at, at + 20) for at in range(0, SEEDS, 20)], ids=str)
def test_everything_arrives_once_and_in_order(seeds: range) -> None:
    for seed in seeds:
        outcome = run(seed)
        assert outcome.broken is None, outcome
        assert outcome.counts["received"] == len(SOURCES) * MESSAGES


def test_a_seed_has_one_history() -> None:
    code = "from headrace.testing.sim.bridged import run; print([run(seed).counts.most_common() for seed in range(4)])"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(said) == 1


# -- safeguards that are removed --------------------------------------------------------------------


def acknowledged_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    act = IntakeShell._act

    def acts(shell: IntakeShell, effect: Effect) -> None:
        line = shell._line
        if isinstance(effect, Receive) and line is not None:
            line.put(lambda link: link.done(effect.batch))
        act(shell, effect)

    patch.setattr(IntakeShell, "_act", acts)


def a_bookmark_without_its_guard(patch: pytest.MonkeyPatch) -> None:
    receive = MemoryPost.receive

    async def receives(post: MemoryPost, source: str, intake: Intake) -> Received:
        stand = await post.bookmarks(source)
        marks = {
            part: replace(mark, known=stand[part].next if part in stand else None)
            for part, mark in intake.marks.items()
        }
        return await receive(post, source, replace(intake, marks=marks))

    patch.setattr(MemoryPost, "receive", receives)


def ids_that_are_not_remembered(patch: pytest.MonkeyPatch) -> None:
    receive = MemoryPost.receive

    async def receives(post: MemoryPost, source: str, intake: Intake) -> Received:
        arrivals = [replace(arrival, digest=None) for arrival in intake.arrivals]
        return await receive(post, source, replace(intake, arrivals=arrivals))

    patch.setattr(MemoryPost, "receive", receives)


def a_bookmark_that_moves_without_its_jobs(patch: pytest.MonkeyPatch) -> None:
    receive = MemoryPost.receive

    async def receives(post: MemoryPost, source: str, intake: Intake) -> Received:
        if intake.marks and len(intake.arrivals) % 7 == 3:
            await receive(post, source, replace(intake, arrivals=()))
        return await receive(post, source, intake)

    patch.setattr(MemoryPost, "receive", receives)


def events_that_leave_the_outbox_unconfirmed(patch: pytest.MonkeyPatch) -> None:
    async def hands(relay: Relay, events: Sequence[Outgoing], _: int) -> bool:
        relay._put(Confirmed(tuple(out.place for out in events)))
        await relay._sink.send(events, lambda _: None)
        return True

    patch.setattr(Relay, "_hand", hands)


def a_turn_that_begins_with_what_is_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryBroker, "dismiss", lambda broker, queue: None)


def keys_that_are_not_kept_in_order(patch: pytest.MonkeyPatch) -> None:
    async def sends(sink: MemorySink, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        await sink._broker.delay("send")
        for out in events:
            end = sink._one(out)
            tell(Unsent((out.place,), "lost") if isinstance(end, Unsent) else end)

    plain = MemorySink.__init__

    def makes(sink: MemorySink, broker: Any, *, one_per_key: bool) -> None:
        plain(sink, broker, one_per_key=not one_per_key)

    patch.setattr(MemorySink, "__init__", makes)
    patch.setattr(MemorySink, "send", sends)


@pytest.mark.parametrize(
    ("mutant", "promises"),
    [
        (acknowledged_before_the_commit, {LOST}),
        (a_bookmark_without_its_guard, {ONCE}),
        (ids_that_are_not_remembered, {ONCE, COMES}),
        (a_bookmark_that_moves_without_its_jobs, {ONCE}),
        (a_turn_that_begins_with_what_is_new, {COMES}),
        (events_that_leave_the_outbox_unconfirmed, {LOST}),
        (keys_that_are_not_kept_in_order, {GOES}),
    ],
    ids=lambda case: getattr(case, "__name__", "-".join(sorted(case)) if isinstance(case, set) else case),
)
def test_a_removed_safeguard_is_found(monkeypatch: pytest.MonkeyPatch, mutant: Mutant, promises: set[str]) -> None:
    mutant(monkeypatch)
    outcomes = (run(seed) for seed in range(BOUND))
    found = next((outcome for outcome in outcomes if outcome.broken is not None), None)
    assert found is not None, f"nothing was seen broken in {BOUND} worlds"
    assert found.broken in promises, found
