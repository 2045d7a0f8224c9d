"""The post of a store as one simulated process reaches it: what takes messages and what relays events calls."""

from collections.abc import Sequence

from headrace.core.event import Event
from headrace.core.message import Bookmark
from headrace.core.model import Lease
from headrace.core.relay_events import Refusal
from headrace.ports.post import Intake, OutboxPage, Received, SinkRecord
from headrace.testing.sim.remote import RemoteStore


class RemotePost(RemoteStore):
    """As `RemoteStore`, with the verbs of `ports.post` that sources and relays use."""

    async def receive(self, source: str, intake: Intake) -> Received:
        """As `Post.receive`."""
        result: Received = await self.call("receive", source, intake)
        return result

    async def bookmarks(self, source: str) -> dict[str, Bookmark]:
        """As `Post.bookmarks`."""
        result: dict[str, Bookmark] = await self.call("bookmarks", source)
        return result

    async def publish(self, events: Sequence[Event], guard: Lease | None = None, *, once: bool = False) -> list[bool]:
        """As `Post.publish`."""
        result: list[bool] = await self.call("publish", tuple(events), guard, once=once)
        return result

    async def outgoing(
        self, sink: str, after: int, limit: int, bytes_max: int, without: Sequence[str] = ()
    ) -> OutboxPage:
        """As `Post.outgoing`."""
        result: OutboxPage = await self.call("outgoing", sink, after, limit, bytes_max, tuple(without))
        return result

    async def sent(self, sink: str, done: Sequence[int], refused: Sequence[Refusal] = ()) -> None:
        """As `Post.sent`."""
        await self.call("sent", sink, tuple(done), tuple(refused))

    async def take_chore(self, name: str, doer: str, lease_s: float) -> int | None:
        """As `Post.take_chore`."""
        result: int | None = await self.call("take_chore", name, doer, lease_s)
        return result

    async def leave_chore(self, name: str, doer: str) -> None:
        """As `Post.leave_chore`."""
        await self.call("leave_chore", name, doer)

    async def sinks(self) -> list[SinkRecord]:
        """As `Post.sinks`."""
        result: list[SinkRecord] = await self.call("sinks")
        return result
