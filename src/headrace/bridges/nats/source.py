"""A subject of NATS as a source: a durable pull consumer of JetStream, which processes share.

The consumer is made where there is none. What it has given out is given again when it is not acknowledged in time, so a
connection says now and then that it is at it.
"""

from typing import Any, Final, Protocol

from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo

from headrace.bridges.nats.client import Connection, NotFoundError, connect
from headrace.bridges.nats.link import NatsLink, Taking
from headrace.clients.closing import finished
from headrace.core.broker import Broker
from headrace.core.errors import BridgeRefused
from headrace.ports.bridge import SourceLink, Stand

ACK_WAIT_S: Final = 15.0
PENDING_MAX: Final = 10_000
ANEW: Final = (
    "delete it, and one is made that begins at the first message of the stream (or make one that begins elsewhere)"
)


class Subject(Protocol):
    """A subject, the stream that keeps it (None: the one that does), and the consumer by which it is taken from."""

    @property
    def subject(self) -> str:
        """With `*` and `>` as NATS has them."""
        ...

    @property
    def stream(self) -> str | None:
        """Its name."""
        ...

    @property
    def durable(self) -> str | None:
        """The consumer's name."""
        ...


class NatsSource:
    """Messages of one subject."""

    def __init__(self, broker: Broker, subject: Subject, name: str, *, ordered: bool = False) -> None:
        """Not connected."""
        self._broker: Final = broker
        self._subject: Final = subject
        self._durable: Final = subject.durable or ""
        self._name: Final = name
        self._ordered: Final = ordered

    @property
    def alone(self) -> bool:
        """A consumer gives to whoever asks."""
        return self._ordered

    async def open(self, stand: Stand) -> SourceLink:  # noqa: ARG002 - the consumer counts for us
        """Connect, and make the consumer where there is none."""
        connection = await connect(self._broker, "headrace source")
        try:
            jetstream = connection.client.jetstream()
            stream = await self._stream(connection, jetstream)
            consumer = await self._consumer(connection, jetstream, stream)
            taking = Taking(self._name, stream, self._durable, consumer.config.ack_wait or ACK_WAIT_S, self._ordered)
            link = NatsLink(connection, taking)
            await link.listen()
            if self._ordered:
                await link.take_over(consumer)
        except BaseException:
            await finished(connection.close())
            raise
        return link

    async def _stream(self, connection: Connection, jetstream: Any) -> str:
        """The stream's name, if there is one."""
        shown, subject = self._broker.shown, self._subject
        async with connection.answers():
            try:
                if subject.stream is not None:
                    await jetstream.stream_info(subject.stream)
                    return subject.stream
                return str(await jetstream.find_stream_name_by_subject(subject.subject))
            except NotFoundError:
                if subject.stream is not None:
                    raise BridgeRefused(f"{shown} has no stream {subject.stream}: make it") from None
                raise BridgeRefused(
                    f"{shown} has no stream that keeps {subject.subject}: make one, or name the stream"
                ) from None

    async def _consumer(self, connection: Connection, jetstream: Any, stream: str) -> ConsumerInfo:
        """The consumer, which is there then."""
        async with connection.answers():
            try:
                info: ConsumerInfo = await jetstream.consumer_info(stream, self._durable)
            except NotFoundError:
                wanted = ConsumerConfig(
                    durable_name=self._durable,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=ACK_WAIT_S,
                    max_deliver=-1,
                    max_ack_pending=PENDING_MAX,
                    filter_subject=self._subject.subject,
                )
                info = await jetstream.add_consumer(stream, wanted)
        found = info.config
        subject, edit = self._subject.subject, f"`nats consumer edit {stream} {self._durable}"
        for wrong, what, remedy in (
            (found.deliver_subject, "pushes, and cannot be pulled from", ANEW),
            (found.ack_policy != AckPolicy.EXPLICIT, "does not want each message acknowledged", ANEW),
            ((found.max_deliver or -1) > 0, "gives a message up after some deliveries", f"{edit} --max-deliver=-1`"),
            (subject not in _filters(found), f"takes other subjects than {subject}", f"{edit} --filter='{subject}'`"),
        ):
            if wrong:
                raise BridgeRefused(
                    f"the consumer {self._durable} of the stream {stream} of {self._broker.shown} {what}: {remedy}, or"
                    " name another"
                )
        return info


def _filters(config: ConsumerConfig) -> list[str]:
    """What a consumer takes; one without a filter takes all that its stream has."""
    return [config.filter_subject] if config.filter_subject else config.filter_subjects or [">"]
