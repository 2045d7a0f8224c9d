"""A small world of messages and events: production intakes and relays over a broker that is cut off and loses answers.

Every process takes from a topic and from a queue, publishes events by keys, and relays them; processes are killed and
stand still, the store loses requests and answers, members of the topic's group are expelled. Then all is well, and what
was put into the broker, or published, must be where it belongs.

Invariant: a seed has one history, as for `world`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from headrace.bridges.memory import MemoryBroker
from headrace.bridges.memory.links import Record
from headrace.core.errors import Full, StoreUnavailable
from headrace.core.event import Event
from headrace.core.ids import IdMaker
from headrace.core.intake_events import IntakeSettings
from headrace.core.message import Message, digest_of
from headrace.core.model import NewJob
from headrace.ports.observer import SILENT
from headrace.ports.post import Arrival, Intake, Post
from headrace.ports.store import StoreSettings
from headrace.runtime.intake import IntakeShell
from headrace.runtime.intake_parts import Counts, Parts
from headrace.runtime.relay import Relay
from headrace.runtime.sources import SourcePlan, Sources
from headrace.testing.sim import events as e
from headrace.testing.sim.node import Machine, Node
from headrace.testing.sim.remote_post import RemotePost
from headrace.testing.sim.server import StoreServer
from headrace.testing.sim.timeline import Livelock, Timeline

if TYPE_CHECKING:
    from headrace.ports.store import Store

LOAD_S: Final = 60.0
PATIENCE_S: Final = 240.0  # after the last fault: leases, back-offs and keeps
LOOK_S: Final = 5.0
TOPIC, QUEUE, LINE, SINK = "kafka:orders:payments", "rabbitmq:mail", "redis:line:one", "broker"
MESSAGES: Final = 60  # of the topic, and as many of each queue
EVENTS: Final = 40  # of each key
SOURCES: Final = "tql"  # of the topic, the queue and the line
KEYS: Final = ("a", "b", "c")
ONCE, LOST = "a message is a job once", "nothing acknowledged is lost"
COMES, GOES = "what one takes alone are jobs in order", "events go out in order per key"
SURPRISE: Final = "no surprises"


@dataclass(slots=True)
class Outcome:
    """How one world went: the promise that was broken, if one was, and what was seen."""

    seed: int
    broken: str | None = None
    detail: str = ""
    counts: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True, slots=True)
class _Task:
    name: str = "take"
    queue: str = "orders"


class _Decoder:
    """Messages to jobs, without a task of anybody's: the body is the arguments."""

    task = _Task()
    priority = 0
    dedup = True

    def __init__(self, node: Node, rng: random.Random) -> None:
        self._node, self._rng, self._ids = node, rng, IdMaker()

    def arrivals(self, messages: Sequence[Message], known: Collection[str], *, raw: str | None = None) -> list[Arrival]:
        """One job each; those of parts with bookmarks need no digest."""
        del raw
        return [self._arrival(message, known) for message in messages]

    def _arrival(self, message: Message, known: Collection[str]) -> Arrival:
        job_id = self._ids.make(self._node.clock.wall(), self._rng.randbytes(8))
        job = NewJob(job_id, "take", "orders", message.body.decode(), fresh=True)
        needs = message.id is not None and message.part not in known
        return Arrival(job, digest_of(message.id or "") if needs else None)


class _Gate:
    """The queue is full now and then."""

    def __init__(self, world: "BridgedWorld", rng: random.Random) -> None:
        self._world, self._rng = world, rng

    async def admit(self, jobs: Sequence[NewJob], *, nested: bool) -> None:
        """Refuse, sometimes."""
        del jobs, nested
        if self._world.troubled and self._rng.random() < self._world.full:
            raise Full("the queue is full", retry_in=self._rng.random())

    async def left(self, name: str, priority: int) -> tuple[int, float]:
        """A few."""
        del name, priority
        return self._rng.randrange(0, 20) if self._world.troubled else 1_000, 0.5


class BridgedWorld:
    """The processes, the broker and the store."""

    def __init__(self, seed: int) -> None:
        """Drawn from the seed; nothing has happened."""
        self.outcome = Outcome(seed)
        self.troubled = True
        self.timeline = Timeline()
        draw = self.rng("world")
        self.full = draw.choice((0.0, 0.0, 0.2))
        self.server = StoreServer(self.timeline, StoreSettings(), self._note, self.rng("store"))
        self.server.latency_s = draw.choice((0.0005, 0.005, 0.05))
        self.server.request_lost, self.server.answer_lost = draw.choice(((0.0, 0.0), (0.02, 0.02), (0.1, 0.1)))
        self.server.hangs = draw.choice((0.0, 0.0, 0.02))
        self._lossy = draw.choice((0.0, 0.05, 0.2))
        self._one_per_key = self.rng("sink").choice((True, False))
        self._restless = draw.choice((0.0, 3.0, 10.0))  # seconds between two troubles, about; 0: none
        self.broker = MemoryBroker(self.server.wall)
        self.broker.topic("orders", parts=draw.choice((1, 2, 3)))
        self.broker.queue("mail")
        self.broker.queue("line")
        self.broker.queue("out")
        self.broker.acknowledged = self._acknowledged
        self.broker.lost = partial(self._loses, self.rng("lost"))
        self.broker.delay = partial(self._delay, self.rng("delay"))
        self._apply, self.server.apply = self.server.apply, self._applied  # type: ignore[method-assign]
        self._machines = [Machine(f"machine-{at + 1}", self.timeline) for at in range(2)]
        self._published: Counter[str] = Counter()
        self._births: Counter[str] = Counter()
        self._next = 0  # message of the line
        self.nodes: dict[str, Node] = {}
        for at in range(draw.choice((1, 2, 3))):
            self._start(f"process-{at + 1}", self._machines[at % 2])

    def rng(self, name: str) -> random.Random:
        """A generator of its own."""
        return random.Random(f"{self.outcome.seed} {name}")  # noqa: S311 - to be repeatable

    def fail(self, promise: str, detail: str) -> None:
        """The first broken promise counts."""
        if self.outcome.broken is None:
            self.outcome.broken, self.outcome.detail = promise, f"{detail} at {self.timeline.now:.3f} s"
            self.timeline.stop()

    # -- processes --------------------------------------------------------------------------------

    def _start(self, name: str, machine: Machine) -> None:
        self._births[name] += 1
        node = Node(f"{name}.{self._births[name]}", machine, self._note, self._unhandled)
        node.on_death.append(lambda _: self._died(name, node))
        self.nodes[name] = node
        node.spawn(self._live(node))

    def _died(self, name: str, node: Node) -> None:
        for link in [link for link in self.broker.links if link.loop is node.loop]:
            link.lose(StoreUnavailable("its process is dead"))
        if not self.timeline.stopped:
            self.timeline.after(
                self.rng(f"{node.name} back").uniform(0.1, 8.0), partial(self._start, name, node.machine)
            )

    async def _live(self, node: Node) -> None:
        store = RemotePost(node, self.server)
        rng = self.rng(node.name)
        sink = self.broker.sink(one_per_key=self._one_per_key)
        relay = Relay(SINK, sink, cast("Post", store), node.clock, rng, doer=node.name, observer=SILENT)
        shells = [self._parts(node, store, *each) for each in ((TOPIC, "orders", "payments"), (QUEUE, "mail", ""))]
        tasks = [asyncio.ensure_future(IntakeShell(parts, lambda _: None, Counts()).run()) for parts in shells]
        tasks.append(asyncio.ensure_future(self._stand_in_line(node, store)))
        tasks += [asyncio.ensure_future(relay.run()), asyncio.ensure_future(self._call(relay, node))]
        if node.name.startswith("process-1."):
            tasks.append(asyncio.ensure_future(self._publish(store, node)))
        await asyncio.gather(*tasks)

    async def _stand_in_line(self, node: Node, store: RemotePost) -> None:
        plan = SourcePlan(self._parts(node, store, LINE, "line", "one"), 3_600.0)
        async with Sources(cast("Store", store), lambda: node.name).taking([plan]):
            await asyncio.Event().wait()

    def _parts(self, node: Node, store: RemotePost, name: str, target: str, group: str) -> Parts:
        rng = self.rng(f"{node.name} {name}")
        return Parts(
            name,
            self.broker.source(name, target, group, alone=name == LINE),
            _Decoder(node, rng),
            IntakeSettings(batch_max=rng.choice((3, 10, 100))),
            cast("Post", store),
            _Gate(self, rng),
            store.open,
            partial(store.bookmarks, name),
            node.clock,
            rng,
            SILENT,
        )

    async def _call(self, relay: Relay, node: Node) -> None:
        while True:
            relay.call()
            await node.clock.sleep(1.0)

    async def _publish(self, store: RemotePost, node: Node) -> None:
        """Events of each key, one after the other: the next when the one before is certainly in the outbox."""
        rng = self.rng(f"{node.name} publish")
        while any(self._published[key] < EVENTS for key in KEYS):
            key = rng.choice([key for key in KEYS if self._published[key] < EVENTS])
            number = self._published[key]
            event = Event(digest_of(f"{key} {number}"), SINK, "out", key, body=f"{key} {number}".encode())
            try:
                await store.publish([event], once=True)
            except StoreUnavailable:
                pass
            else:
                self._published[key] += 1
            await node.clock.sleep(rng.uniform(0.0, 0.8))

    # -- trouble ----------------------------------------------------------------------------------

    def _loses(self, rng: random.Random, what: str) -> bool:
        del what
        return self.troubled and rng.random() < self._lossy

    async def _delay(self, rng: random.Random, what: str) -> None:
        long = self.troubled and rng.random() < LONG
        await asyncio.sleep(rng.uniform(0.0, 10.0 if long and what != "fetch" else 0.02))

    def _produce(self) -> None:
        rng = self.rng("produce")
        for number in range(MESSAGES):
            topic = partial(self.broker.put, "orders", f'"t{number:03}"'.encode(), key=rng.choice((None, "x", "y")))
            self.timeline.at(rng.uniform(0.0, LOAD_S), topic)
            queue = partial(self.broker.put, "mail", f'"q{number:03}"'.encode(), id=f"q{number}")
            self.timeline.at(rng.uniform(0.0, LOAD_S), queue)
        for number, at in enumerate(sorted(rng.uniform(0.0, LOAD_S) for _ in range(MESSAGES))):
            self.timeline.at(at, partial(self.broker.put, "line", f'"l{number:03}"'.encode(), id=f"l{number}"))

    def _trouble(self) -> None:
        rng = self.rng("trouble")
        at = 0.0
        while self._restless and (at := at + rng.expovariate(1 / self._restless)) < LOAD_S:
            self.timeline.at(at, partial(self._strike, rng))

    def _strike(self, rng: random.Random) -> None:
        name = rng.choice(sorted(self.nodes))
        node = self.nodes[name]
        what = rng.choice(("kill", "kill", "pause", "broker", "store", "expel"))
        self.outcome.counts[what] += 1
        match what:
            case "kill":
                node.kill()
            case "pause":
                node.pause(rng.choice((0.5, 7.0, 40.0)))
            case "broker":
                self.broker.cut()
                self.timeline.after(rng.choice((0.1, 3.0, 20.0)), self.broker.mend)
            case "store":
                self.server.down = True
                self.timeline.after(rng.choice((0.1, 3.0, 40.0)), self._store_back)
            case _:
                members = self.broker.groups.get(("orders", "payments"), [])
                if members:
                    self.broker.expel(rng.choice(members))

    def _store_back(self) -> None:
        self.server.down = False

    # -- judges -----------------------------------------------------------------------------------

    def _note(self, event: e.Event) -> None:
        self.outcome.counts[type(event).__name__] += 1

    def _unhandled(self, node: Node, context: dict[str, Any]) -> None:
        self.fail(SURPRISE, f"{node}: {context.get('message')}: {context.get('exception')!r}")

    def _jobs(self) -> Counter[str]:
        """How many jobs have which arguments."""
        rows = self.server.backend._board.rows  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return Counter(row.job.args for row in rows.values())

    def _acknowledged(self, record: Record) -> None:
        self.outcome.counts["acknowledged"] += 1
        if record.body.decode() not in self._jobs():
            self.fail(LOST, f"{record.body!r} was acknowledged, and is no job")

    def _applied(self, verb: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if verb == "sent":
            self._look_at_sent(args[1])
        answer = self._apply(verb, args, named)
        if verb == "receive":
            self._look_at_received(args[0], args[1], answer.added)
        return answer

    def _look_at_sent(self, places: Sequence[int]) -> None:
        outbox = self.server.backend._outboxes.get(SINK, {})  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        there = {record.id for record in self.broker.queues["out"]}
        for place in places:
            row = outbox.get(place)
            if row is not None and row.event.id.hex() not in there:
                self.fail(LOST, f"{row.event.body!r} left the outbox, and the broker has not got it")

    def _look_at_received(self, source: str, intake: Intake, added: Sequence[bool]) -> None:
        for arrival, is_new in zip(intake.arrivals, added, strict=bool(added)):
            if source == LINE and is_new:
                if arrival.job.args != f'"l{self._next:03}"':
                    self.fail(COMES, f"{arrival.job.args} became a job before message {self._next}")
                self._next += 1
        self.outcome.counts["received"] += sum(added)
        self.outcome.counts["repeated"] += len(intake.arrivals) - sum(added)
        twice = [args for args, count in self._jobs().items() if count > 1]
        if twice:
            self.fail(ONCE, f"the message {twice[0]} is {self._jobs()[twice[0]]} jobs")

    def _look_at_events(self) -> None:
        seen: dict[str, int] = {}
        for record in self.broker.queues["out"]:
            key, number = record.body.decode().split()
            if int(number) > seen.get(key, -1) + 1:
                self.fail(GOES, f"event {number} of {key} came before event {seen.get(key, -1) + 1}")
            seen[key] = max(seen.get(key, -1), int(number))
        self.outcome.counts["sent"] = len(self.broker.queues["out"])

    @property
    def _drained(self) -> bool:
        wanted = len(SOURCES) * MESSAGES
        there = {record.id for record in self.broker.queues["out"]}
        outbox = self.server.backend._outboxes.get(SINK, {})  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return len(self._jobs()) == wanted and len(there) == EVENTS * len(KEYS) and not outbox

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Let the world live to its end."""
        self._produce()
        self._trouble()
        try:
            self.timeline.run(LOAD_S)
            self._heal()
            end = self.timeline.now + PATIENCE_S
            while not self.timeline.stopped and not self._drained and self.timeline.now < end:
                self.timeline.run(self.timeline.now + LOOK_S)
            if not self.timeline.stopped:
                self._judge()
        except Livelock as endless:
            self.fail("time passes", str(endless))
        finally:
            self.timeline.stop()
            for machine in self._machines:
                for node in tuple(machine.nodes):
                    node.kill()
        return self.outcome

    def _heal(self) -> None:
        self.troubled = False
        self.server.down = False
        self.server.request_lost = self.server.answer_lost = self.server.hangs = 0.0
        self.broker.mend()
        for node in self.nodes.values():
            node.resume()

    def _judge(self) -> None:
        jobs = self._jobs()
        wanted = {f'"{kind}{number:03}"' for kind in SOURCES for number in range(MESSAGES)}
        missing = sorted(wanted - jobs.keys())
        if missing:
            self.fail(ONCE, f"{len(missing)} messages are no jobs, the first {missing[0]}")
        self._look_at_events()
        there = {record.body.decode() for record in self.broker.queues["out"]}
        late = sorted({f"{key} {number}" for key in KEYS for number in range(EVENTS)} - there)
        if late:
            self.fail(LOST, f"{len(late)} events were not sent, the first {late[0]}")


LONG: Final = 0.02


def run(seed: int) -> Outcome:
    """Run the world of a seed."""
    return BridgedWorld(seed).run()
