"""JetStream as a sink: each event is published by its id, and confirmed when a stream has it.

A stream drops what has the id of an event that it took within its `duplicate_window`, and confirms it again.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from nats.errors import BadHeaderError, BadSubjectError, MaxPayloadError
from nats.errors import Error as NatsError

from headrace.bridges import faults
from headrace.bridges.nats.client import ANSWER_S, UNAVAILABLE, Connection, NotFoundError, connect
from headrace.bridges.nats.messages import headers_of
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError
from headrace.core.event import Outgoing
from headrace.core.relay_events import Confirmed, Deferred, Refused, Unsent
from headrace.ports.bridge import SinkEnd

ENDED: Final = "the connection is closed"
NO_RESPONDERS: Final = "503"
HEADER_BYTES: Final = len("NATS/1.0\r\n\r\n")
BESIDE: Final = len(": \r\n")


class NatsSink:
    """Publishes events; the target of one is a subject."""

    def __init__(self, broker: Broker) -> None:
        """Not connected."""
        self._broker: Final = broker
        self._line: _Line | None = None
        self._closed = False

    @property
    def one_per_key(self) -> bool:
        """Acknowledgements come in any order."""
        return True

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        """Publish all of them; the stream's answers tell the rest."""
        left, why = list(reversed(events)), ENDED
        line: _Line | None = None
        try:
            if not self._closed:
                line = await self._connected()
                while left:
                    await line.publish(left[-1], tell)
                    left.pop()
        except BridgeError as error:
            why = str(error)
        except BaseException:
            if line is not None:
                told = line.forget(events)
                left = [out for out in left if out.place not in told]
            raise
        finally:
            if left:
                tell(Unsent(tuple(out.place for out in reversed(left)), why))

    async def reset(self) -> None:
        """Leave the connection."""
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def close(self) -> None:
        """Leave it for good."""
        self._closed = True
        await self.reset()

    async def _connected(self) -> "_Line":
        if self._line is not None and not self._line.ended:
            return self._line
        await self.reset()
        connection = await connect(self._broker, "headrace sink")
        line = _Line(connection)
        try:
            await line.listen()
        except BaseException:
            await finished(line.close())
            raise
        self._line = line
        return line


class _Line:
    """One connection, and the events that were published on it and are not answered."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Final = connection
        self._broker: Final = connection.broker
        self._client: Final = connection.client
        self._inbox: Final[str] = connection.client.new_inbox()
        self._count = 0
        self._flying: Final[dict[str, tuple[Outgoing, Callable[[SinkEnd], None]]]] = {}
        self._confirmed: Final[list[tuple[int, Callable[[SinkEnd], None]]]] = []
        self._lonely: Final[list[tuple[Outgoing, Callable[[SinkEnd], None]]]] = []  # nobody answered for their subject
        self._asking: asyncio.Task[None] | None = None
        self._loop: Final = asyncio.get_running_loop()
        connection.ended.add_done_callback(lambda _: self._end(str(faults.lost(self._broker))))

    @property
    def ended(self) -> bool:
        """Whether it is of no more use."""
        return self._connection.ended.done()

    async def listen(self) -> None:
        """Hear what streams answer."""
        async with self._connection.answers():
            await self._client.subscribe(
                f"{self._inbox}.*", cb=self._on_answer, pending_msgs_limit=0, pending_bytes_limit=0
            )

    async def publish(self, out: Outgoing, tell: Callable[[SinkEnd], None]) -> None:
        """Hand one to the client.

        Raises:
            BridgeError: it is not taken, by no fault of the event.
        """
        event = out.event
        try:
            headers = headers_of(event)
            why = self._too_large(out, headers)
        except (AttributeError, TypeError, ValueError) as error:
            why = f"its headers are no text: {error}"
        else:
            if not why:
                self._count += 1
                inbox = f"{self._inbox}.{self._count}"
                self._flying[inbox] = (out, tell)
                try:
                    await self._client.publish(event.target, event.body, inbox, headers)
                except (BadSubjectError, BadHeaderError, MaxPayloadError, UnicodeError) as error:
                    self._flying.pop(inbox, None)
                    why = f"{self._broker.shown} does not take it on the subject {event.target!r}: {error}"
                except NatsError as error:
                    if self._flying.pop(inbox, None) is not None:  # and not told of meanwhile
                        raise faults.lost(self._broker, error) from None
        if why:
            tell(Refused(out.place, why))

    def forget(self, events: Sequence[Outgoing]) -> set[int]:
        """Those of them that are unanswered end as unsent; their places."""
        places = {out.place for out in events}
        flying = {inbox: end for inbox, end in self._flying.items() if end[0].place in places}
        for inbox in flying:
            del self._flying[inbox]
        ends = [*flying.values(), *[end for end in self._lonely if end[0].place in places]]
        self._lonely[:] = [end for end in self._lonely if end[0].place not in places]
        for out, tell in ends:
            tell(Unsent((out.place,), ENDED))
        return {out.place for out, _ in ends}

    async def close(self) -> None:
        """Let go; what is unanswered ends as unsent."""
        self._end(ENDED)
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._connection.close()

    def _too_large(self, out: Outgoing, headers: dict[str, str]) -> str:
        """Whether the server would end the connection for it."""
        size, most = len(out.event.body), self._client.max_payload
        beside = HEADER_BYTES + sum(len(name) + len(value.encode()) + BESIDE for name, value in headers.items())
        if size + beside <= most:
            return ""
        return f"{size} bytes and {beside} of headers are more than the {most} that {self._broker.shown} takes"

    # -- answers ----------------------------------------------------------------------------------

    async def _on_answer(self, message: Any) -> None:
        out, tell = self._flying.pop(message.subject, (None, None))
        if out is None or tell is None:
            return
        if message.headers and message.headers.get("Status") == NO_RESPONDERS:
            self._lonely.append((out, tell))
            if self._asking is None or self._asking.done():
                self._asking = self._loop.create_task(self._ask())
            return
        error, stream = _read(message.data)
        if error is None and stream:
            if not self._confirmed:
                self._loop.call_soon(self._confirm)
            self._confirmed.append((out.place, tell))
        elif error is None:
            tell(Refused(out.place, f"who answers on the subject {out.event.target} is no stream: make one for it"))
        elif error.get("code") == UNAVAILABLE:
            why = f"{self._broker.shown} takes nothing on {out.event.target} for now: {error.get('description')}"
            tell(Deferred((out.place,), why))
        else:
            size = len(out.event.body)
            tell(Refused(out.place, f"the stream refuses its {size} bytes: {error.get('description')}"))

    def _confirm(self) -> None:
        """Tell at once what came at once."""
        confirmed = tuple(self._confirmed)
        self._confirmed.clear()
        for tell in {id(tell): tell for _, tell in confirmed}.values():
            tell(Confirmed(tuple(place for place, its in confirmed if its is tell)))

    async def _ask(self) -> None:
        """Whether there is no stream for a subject, or none yet: JetStream begins after the server does."""
        jetstream = self._client.jetstream(timeout=ANSWER_S)
        while self._lonely:
            target = self._lonely[0][0].event.target
            end = await self._end_of(target, jetstream)
            lonely = [each for each in self._lonely if each[0].event.target == target]
            self._lonely[:] = [each for each in self._lonely if each[0].event.target != target]
            for out, tell in lonely:
                tell(end(out.place))

    async def _end_of(self, target: str, jetstream: Any) -> Callable[[int], SinkEnd]:
        """What becomes of each event for a subject for which nobody answered."""
        shown = self._broker.shown
        try:
            async with self._connection.answers():
                try:
                    await jetstream.find_stream_name_by_subject(target)
                except NotFoundError:
                    return lambda place: Refused(place, f"{shown} has no stream that takes {target}: make one")
        except BridgeError as error:
            why = str(error)
            return lambda place: Unsent((place,), why)
        return lambda place: Deferred((place,), f"the stream of {shown} for {target} does not answer yet")

    def _end(self, why: str) -> None:
        """All that is unanswered is unsent."""
        self._confirm()
        ends = [*self._flying.values(), *self._lonely]
        self._flying.clear()
        self._lonely.clear()
        for tell in {id(tell): tell for _, tell in ends}.values():
            tell(Unsent(tuple(out.place for out, its in ends if its is tell), why))


def _read(data: bytes) -> tuple[dict[str, Any] | None, str]:
    """The error of an answer, or the stream that has the event."""
    try:
        answer = json.loads(data)
        return answer.get("error"), str(answer.get("stream") or "")
    except (AttributeError, ValueError):
        return None, ""
