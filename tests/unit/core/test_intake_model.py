"""A source against a naive broker and store, whatever happens to either, in whatever order.

The broker of `Queued` counts for us, as RabbitMQ does: what is not acknowledged comes again, first of all. The one of
`Logged` is Kafka: it counts nothing, and a second member reads the same parts.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headrace.core.intake import IntakeCore
from headrace.core.intake_events import (
    Back,
    Close,
    Crowded,
    Done,
    DrainAsked,
    Drained,
    Effect,
    Event,
    Fetch,
    Fetched,
    Hold,
    IntakeSettings,
    Look,
    Looked,
    Lost,
    Open,
    Opened,
    Receive,
    Received,
    Seek,
    StoreAway,
    Tell,
    Unfit,
)
from headrace.core.message import Batch, Message
from tests.effort import effort

SETTINGS = IntakeSettings(batch_max=6, bytes_max=20, keep_s=10, answer_s=8)


def number(message: Message) -> int:
    return int(message.place)


class World(RuleBasedStateMachine):
    """What both brokers have in common: connections, answers that are awaited, and a store."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.core = IntakeCore(SETTINGS, random.Random(0), 0.0)
        self.session = 0  # the connection that is open or being opened; 0: none
        self.is_open = False
        self.held = False
        self.fetch: Fetch | None = None
        self.looks: list[int] = []
        self.calls: list[Receive] = []  # of receive, not answered
        self.ghosts: list[Receive] = []  # of those that were repeated, and whose token is answered
        self.late_by = self.look_by = 0.0
        self.known_calls: dict[int, Receive] = {}
        self.draining = self.drained = False
        self.steps = 0

    # -- the broker and the store, told apart by the two below

    def give(self, most: int) -> Batch:
        raise NotImplementedError

    def lose(self) -> None:
        """The connection is gone: what it had is the broker's."""
        raise NotImplementedError

    def acknowledge(self, batch: Batch) -> None:
        raise NotImplementedError

    def take_back(self, batch: Batch) -> None:
        raise NotImplementedError

    def commit(self, batch: Batch) -> dict[str, int]:
        """Store the batch, once; where bookmarks moved, nothing."""
        raise NotImplementedError

    def is_bad(self, message: Message) -> bool:
        return False

    def finished(self) -> bool:
        raise NotImplementedError

    # -- effects

    @initialize()
    def begin(self) -> None:
        self.do(self.core.handle_timeout(0.0))

    def hear(self, event: Event) -> None:
        self.do(self.core.handle(event, self.now))

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.perform(effect)

    def perform(self, effect: Effect) -> None:
        assert not self.drained, effect
        match effect:
            case Open() | Close() | Fetch() | Hold():
                self.connect(effect)
            case Receive():
                self.receive(effect)
            case Done(batch) | Back(batch):
                assert self.is_open
                assert batch
                for call in self.calls if self.now < self.late_by else ():
                    assert call is not self.known_calls[call.token] or call.batch != batch, "it is being stored"
                (self.acknowledge if isinstance(effect, Done) else self.take_back)(batch)
            case Look(token):
                assert not self.looks or self.now >= self.look_by
                assert not self.draining
                self.looks = [token]
                self.look_by = self.now + SETTINGS.answer_s
            case Drained():
                assert not self.session
                assert self.draining
                self.drained = True
            case _:
                assert isinstance(effect, Tell), "there is nothing to seek"

    def connect(self, effect: Open | Close | Fetch | Hold) -> None:
        match effect:
            case Open(session):
                assert not self.session
                assert not self.calls or self.now >= self.late_by
                assert not self.draining
                self.session, self.is_open, self.held = session, False, False
            case Close(session):
                assert session == self.session
                self.lose()
                self.session, self.is_open, self.fetch = 0, False, None
            case Fetch():
                assert self.is_open
                assert self.fetch is None
                assert not self.held
                assert not self.draining
                assert 0 < effect.most <= SETTINGS.batch_max - (self.core.kept - self.in_flight())
                self.fetch = effect
            case Hold(held):
                assert self.is_open
                assert held != self.held
                self.held = held

    def receive(self, call: Receive) -> None:
        assert self.is_open
        assert 0 < len(call.batch) <= SETTINGS.batch_max
        before = self.known_calls.get(call.token)
        if before is None:
            assert not call.again
            assert not call.raw
        else:
            assert call.batch == before.batch, "the same jobs again"
            assert call.again or call.raw
        assert not self.calls or self.now >= self.late_by, "one at a time, unless the answer is late"
        self.known_calls[call.token] = call
        self.calls.append(call)
        self.late_by = self.now + SETTINGS.answer_s

    def in_flight(self) -> int:
        return 0 if self.core._flight is None else len(self.core._flight.batch)

    # -- rules

    @precondition(lambda self: self.session and not self.is_open)
    @rule()
    def opens(self) -> None:
        self.is_open = True
        self.hear(Opened(self.session))

    @precondition(lambda self: self.session)
    @rule(refused=st.booleans())
    def is_lost(self, refused: bool) -> None:
        self.hear(Lost(self.session, "gone", refused))

    @precondition(lambda self: self.fetch)
    @rule(most=st.integers(0, 6))
    def fetches(self, most: int) -> None:
        assert self.fetch is not None
        fetch, self.fetch = self.fetch, None
        self.hear(Fetched(fetch.token, self.give(min(most, fetch.most))))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def is_answered(self, data: st.DataObject) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        what = data.draw(st.sampled_from(["commit", "commit", "lost answer", "away", "full"]))
        newest = call is self.known_calls[call.token]
        if any(self.is_bad(message) for message in call.batch.messages) and not call.raw:
            what = "unfit"
        if what in {"commit", "lost answer"}:
            moved = self.commit(call.batch)
            if what == "commit":
                self.end(call.token)
                self.hear(Received(call.token, moved))
            elif newest:
                self.hear(StoreAway(call.token, "lost"))
        elif not newest:
            pass  # it was repeated since: that it failed is not told
        elif what == "full" and not call.again:
            self.hear(Crowded(call.token, data.draw(st.integers(0, 3)), data.draw(st.sampled_from([0.0, 2.0, 60.0]))))
        elif what == "unfit":
            self.hear(Unfit(call.token, "bad"))
        else:
            self.hear(StoreAway(call.token, "away"))

    def end(self, token: int) -> None:
        """The token is answered: what else was asked under it goes on, and nobody hears of that."""
        self.ghosts += [call for call in self.calls if call.token == token]
        self.calls = [call for call in self.calls if call.token != token]

    @precondition(lambda self: self.ghosts)
    @rule()
    def a_ghost_commits(self) -> None:
        self.commit(self.ghosts.pop(0).batch)

    @precondition(lambda self: self.looks)
    @rule(left=st.integers(-1, 8))
    def is_looked(self, left: int) -> None:
        token = self.looks.pop()
        self.hear(StoreAway(token, "away") if left < 0 else Looked(token, left, 1.0))

    @rule(token=st.integers(0, 50), what=st.integers(0, 5))
    def hears_what_is_long_over(self, token: int, what: int) -> None:
        live = {call.token for call in self.calls} | set(self.looks) | {self.fetch.token if self.fetch else 0}
        flight = self.core._flight
        if token not in live and (flight is None or flight.token != token):
            stale = Batch((Message("s", "0", "0"),), ((0, 0),))
            events: list[Event] = [
                Fetched(token, stale), Received(token, {}), Crowded(token, 0, 1), Unfit(token, ""),
                Looked(token, 5, 1), StoreAway(token, ""),
            ]  # fmt: skip
            assert self.core.handle(events[what], self.now) == []
        assert self.core.handle(Lost(self.session + 1000, "?"), self.now) == []

    @rule(share=st.sampled_from([0.5, 1.0, 1.0, 1.0]))
    def waits(self, share: float) -> None:
        at = self.core.next_deadline()
        self.now += min(max(at - self.now, 0.0), 60.0) * share
        self.do(self.core.handle_timeout(self.now))

    @precondition(lambda self: self.steps > 40)
    @rule()
    def drains(self) -> None:
        self.draining = True
        self.hear(DrainAsked())

    # -- what always holds

    @invariant()
    def counts(self) -> None:
        self.steps += 1

    @invariant()
    def keeps_at_most_two_batches(self) -> None:
        assert self.core.kept <= 2 * SETTINGS.batch_max

    @invariant()
    def a_timeout_too_early_changes_nothing(self) -> None:
        if self.now < self.core.next_deadline():
            assert self.core.handle_timeout(self.now) == []
        elif self.now > 0:  # and one that is due leads on
            self.do(self.core.handle_timeout(self.now))
            assert self.now < self.core.next_deadline()

    def teardown(self) -> None:
        """Once all is well again, everything arrives; and a drain ends."""
        for _ in range(400):
            if self.finished() or self.drained:
                break
            self.heal()
        if not self.draining:
            assert self.finished()
            self.draining = True
            self.hear(DrainAsked())
        for _ in range(100):
            if self.drained:
                return
            self.heal()
        raise AssertionError("it does not end")

    def heal(self) -> None:
        if self.session and not self.is_open:
            self.opens()
        elif self.calls:
            call = self.calls.pop(0)
            if any(self.is_bad(message) for message in call.batch.messages) and not call.raw:
                if call is self.known_calls[call.token]:
                    self.hear(Unfit(call.token, "bad"))
            else:
                moved = self.commit(call.batch)
                self.end(call.token)
                self.hear(Received(call.token, moved))
        elif self.looks:
            self.is_looked(8)
        elif self.fetch and self.give_more():
            self.fetches(6)
        else:
            self.waits(1.0)

    def give_more(self) -> bool:
        return True


class Queued(World):
    """A broker that counts for us."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.queue: deque[int] = deque()
        self.out: dict[int, int] = {}  # receipt to message, of this connection
        self.receipts = 0
        self.committed: list[int] = []
        self.acknowledged: set[int] = set()

    @rule(count=st.integers(1, 8))
    def publishes(self, count: int) -> None:
        self.queue.extend(range(self.made, self.made + count))
        self.made += count

    def give(self, most: int) -> Batch:
        messages, receipts = list[Message](), list[object]()
        for _ in range(min(most, len(self.queue))):
            one = self.queue.popleft()
            self.receipts += 1
            self.out[self.receipts] = one
            messages.append(Message("s", str(one), body=b"x" * (one % 5)))
            receipts.append((self.session, self.receipts))
        return Batch(tuple(messages), tuple(receipts))

    def settle(self, batch: Batch) -> list[int]:
        numbers = list[int]()
        for message, receipt in zip(batch.messages, batch.receipts, strict=True):
            session, tag = receipt  # type: ignore[misc]
            assert session == self.session, "a receipt is good on its own connection alone"
            assert self.out.pop(tag) == number(message)
            numbers.append(number(message))
        return numbers

    def acknowledge(self, batch: Batch) -> None:
        for one in self.settle(batch):
            assert one in self.committed, "acknowledged before its commit"
            self.acknowledged.add(one)

    def take_back(self, batch: Batch) -> None:
        self.requeue(self.settle(batch))

    def lose(self) -> None:
        self.requeue(list(self.out.values()))
        self.out.clear()

    def requeue(self, numbers: list[int]) -> None:
        self.queue = deque(sorted({*self.queue, *numbers}))

    def is_bad(self, message: Message) -> bool:
        return number(message) % 7 == 3

    def commit(self, batch: Batch) -> dict[str, int]:
        fresh = [number(message) for message in batch.messages if number(message) not in self.committed]
        assert fresh == sorted(fresh)
        assert not fresh or not self.committed or fresh[0] > self.committed[-1], "in the order of the broker"
        self.committed += fresh
        return {}

    def finished(self) -> bool:
        return self.acknowledged == set(range(self.made))


class Logged(World):
    """Kafka: two parts, a second member, and bookmarks in the store."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = {"0": 0, "1": 0}
        self.bookmarks: dict[str, int] = {}
        self.position: dict[str, int] = {}
        self.known: dict[str, int | None] = {}
        self.stored: dict[str, list[int]] = {"0": [], "1": []}

    @rule(part=st.sampled_from(["0", "1"]), count=st.integers(1, 5))
    def publishes(self, part: str, count: int) -> None:
        self.ends[part] += count

    def give(self, most: int) -> Batch:
        batch = Batch()
        for part, end in self.ends.items():
            first = self.position.setdefault(part, self.bookmarks.get(part, 0))
            known = self.known.setdefault(part, self.bookmarks.get(part))
            last = min(end, first + (most + 1) // 2)
            places = tuple(Message("s", str(place), part) for place in range(first, last))[: most - len(batch)]
            if places:
                batch = batch.join(Batch(places, places, {part: known}))
                self.position[part] = self.known[part] = first + len(places)
        return batch

    def acknowledge(self, batch: Batch) -> None:
        for part, mark in batch.marks.items():
            assert self.bookmarks[part] >= mark.next

    def take_back(self, batch: Batch) -> None:
        for message in batch.messages:
            if number(message) < self.position[message.part]:
                self.position[message.part] = number(message)
                self.known[message.part] = batch.known[message.part]

    def lose(self) -> None:
        self.position.clear()
        self.known.clear()

    def commit(self, batch: Batch) -> dict[str, int]:
        moved = {part: self.bookmarks.get(part, 0) for part, mark in batch.marks.items()
                 if self.bookmarks.get(part) != mark.known}  # fmt: skip
        if moved:
            return moved
        for message in batch.messages:
            self.store(message.part, number(message))
        return {}

    def store(self, part: str, place: int) -> None:
        assert self.stored[part] == list(range(place)), "each once, in order"
        self.stored[part].append(place)
        self.bookmarks[part] = place + 1

    @rule(part=st.sampled_from(["0", "1"]), count=st.integers(1, 3))
    def another_member_is_faster(self, part: str, count: int) -> None:
        for _ in range(count):
            if len(self.stored[part]) < self.ends[part]:
                self.store(part, len(self.stored[part]))

    def perform(self, effect: Effect) -> None:
        if not isinstance(effect, Seek):
            super().perform(effect)
            return
        assert self.is_open
        for part, place in effect.marks.items():
            self.position[part] = place
            self.known[part] = place

    def finished(self) -> bool:
        return all(len(self.stored[part]) == end for part, end in self.ends.items())


def machine(kind: type[World], examples: int) -> Any:
    case: Any = kind.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=60, deadline=None)
    return case


TestQueued: Callable[[], Any] = machine(Queued, effort(40, at_night=400))
TestLogged: Callable[[], Any] = machine(Logged, effort(40, at_night=400))
