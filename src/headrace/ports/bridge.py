"""Bridges to brokers: where messages come from, and where events go.

Rules for every implementation:

- A bridge makes no decision: when to connect, to try again, to acknowledge and to send is said to it (`core.intake`,
  `core.relay`). It never reconnects by itself.
- Every call returns or raises within a time that the adapter bounds, 30 s at most, also on a connection that a
  network has swallowed. Cancelling a call is safe; the connection may then be good for `close` only.
- A broker's exceptions are mapped here, once: `BridgeUnavailable` says that another connection may do, and
  `BridgeRefused` that a person must mend something; its message says what, and has no password.
- All calls come from one event loop.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from headrace.core.event import Outgoing
from headrace.core.message import Batch, Bookmark
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent

Stand: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, Bookmark]]]
"""Where the bookmarks of some parts stand, read now; those that have none are left out."""
SinkEnd: TypeAlias = Confirmed | Deferred | Refused | Unsent
"""What became of events that were sent."""


class SourceLink(Protocol):
    """One connection that takes messages.

    One `fetch` at a time; the others may be called while it waits. Whatever is not acknowledged when the connection
    ends, the broker delivers again, to whomever.
    """

    async def fetch(self, most: int, wait_s: float) -> Batch:
        """At most `most` messages (16 MiB of bodies, or one message), in order; empty if none came within `wait_s`.

        Of a part that was given to another member nothing more comes. With bookmarks, each part goes on where the last
        batch, `seek` or `back` left it, and begins at its bookmark. While held it is called too, and brings nothing.

        Raises:
            BridgeUnavailable: the connection is lost; close it.
            BridgeRefused: likewise, and a person must mend it: the queue is gone, messages were deleted unread.
        """
        ...

    async def done(self, batch: Batch) -> None:
        """Acknowledge: these messages are jobs. Never raises; what is not heard of is delivered again, and found."""
        ...

    async def back(self, batch: Batch) -> None:
        """Nothing of this batch was taken: its messages shall come again, to whomever, in their old order if the broker
        can. Never raises.
        """
        ...

    async def hold(self, held: bool) -> None:
        """Stay a member of the group and take nothing, or take again. Never raises."""
        ...

    async def seek(self, marks: Mapping[str, int]) -> None:
        """Go on from there in these parts. What is fetched after it has nothing of them from elsewhere.

        Parts that are another member's are passed over. A broker that counts for us is never asked.

        Raises:
            BridgeUnavailable: the connection is lost; close it.
        """
        ...

    async def close(self) -> None:
        """Let go within a second, whatever the broker does; a waiting fetch ends. Never raises, idempotent."""
        ...


class Source(Protocol):
    """One place at a broker where messages come from."""

    @property
    def alone(self) -> bool:
        """Whether one process at a time may take from it, by a chore, because the broker cannot see to that.

        True only where order was asked for. Then a link begins with all that was given and not acknowledged, in order,
        whoever had it: the process before is dead, or has lost its turn. What is new comes after that, so a link waits
        where its broker gives such messages again only after a while.
        """
        ...

    async def open(self, stand: Stand) -> SourceLink:
        """Connect and be ready to fetch. `stand` is asked whenever parts are given to this connection.

        An error of `stand` ends the connection: `open` or the next `fetch` raises BridgeUnavailable.

        Raises:
            BridgeUnavailable: the broker is out of reach.
            BridgeRefused: wrong credentials, no such queue, topic or stream, or one that was declared otherwise.
        """
        ...


class Sink(Protocol):
    """One broker that takes events. It connects when something is sent, and again after `reset`."""

    @property
    def one_per_key(self) -> bool:
        """Whether of a key only one event may be sent and unconfirmed.

        False where the sink itself keeps a key in order: it confirms no event while one of its key that was sent
        before is unconfirmed, ends all of these as unsent when one is, and as deferred when one is refused; those too
        that it is given before such an end is told. What is given after that is in order by itself.
        """
        ...

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        """Hand events to the broker in this order, and return when the client has them; one call at a time.

        Each event ends once by `tell`, on the event loop, before or after this returns: `Confirmed` when the broker has
        it for good, `Refused` when it will not take this event (its words), `Deferred` when it does not take it now,
        `Unsent` when that is not known or there is no connection. What ended as `Unsent` may be at the broker. Never
        raises; when it is cancelled, those that have not ended end as unsent.
        """
        ...

    async def reset(self) -> None:
        """Leave the connection within a second; what is unanswered ends as unsent. Never raises."""
        ...

    async def close(self) -> None:
        """As `reset`, for good. Idempotent."""
        ...
