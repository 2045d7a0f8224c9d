"""A topic of Kafka as a source: one member of a group for each connection.

Kafka shares the partitions out; how far each is read, the store knows. So neither a rebalance nor a member that does
not know of one takes a message twice: bookmarks move only from where they stand.
"""

import asyncio
from typing import Any, Final, Protocol

from headrace.bridges.kafka.client import CONNECT_S, STRATEGIES, begin, close_consumer, settings, why_not
from headrace.bridges.kafka.link import KafkaLink
from headrace.bridges.kafka.member import Member
from headrace.bridges.kafka.parts import Says, Taking
from headrace.clients.closing import finished
from headrace.clients.kafka import KafkaError, aiokafka
from headrace.core.broker import Broker
from headrace.ports.bridge import SourceLink, Stand

SESSION_MS: Final = 6_000
"""A member that is not heard of for so long is gone; the least that a broker takes unless it is told otherwise."""
HEARTBEAT_MS: Final = 2_000
NEVER_MS: Final = 2**31 - 1
PARTITION_BYTES: Final = 1 << 20
FETCH_BYTES: Final = 8 << 20


class Topic(Protocol):
    """A topic, the group whose members share its partitions, and where one begins of which nothing was read."""

    @property
    def topic(self) -> str:
        """Its name."""
        ...

    @property
    def group(self) -> str | None:
        """The group's name."""
        ...

    @property
    def start(self) -> str:
        """`earliest` or `latest`."""
        ...


class KafkaSource:
    """Records of one topic as messages."""

    def __init__(self, broker: Broker, topic: Topic, name: str, *, member: str | None = None) -> None:
        """Not connected. `member`: a name that no other process has, and that who comes after this one has too: it then
        takes the partitions over at once, though this one never left the group. By default one of this machine.
        """
        self._broker: Final = broker
        place = f"{broker.shown} {topic.topic} {topic.group}"
        named = Member(member) if member is not None else Member.take(place)
        self._taking: Final = Taking(name, topic.topic, topic.group or "", topic.start, named)

    @property
    def alone(self) -> bool:
        """Never: a group shares out the partitions."""
        return False

    async def open(self, stand: Stand) -> SourceLink:
        """Connect and join the group; partitions are given during the first fetches."""
        taking = self._taking
        given = settings(self._broker, "headrace-source")
        consumer = aiokafka.AIOKafkaConsumer(
            **given,
            group_id=taking.group,
            group_instance_id=taking.member.name,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=SESSION_MS,
            # The client would leave the group when it is not asked for long, and not join again (aiokafka #1187).
            max_poll_interval_ms=NEVER_MS,
            max_partition_fetch_bytes=PARTITION_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            partition_assignment_strategy=STRATEGIES,
        )
        try:
            await begin(consumer)
            async with asyncio.timeout(CONNECT_S):
                link = await self._join(consumer, stand)
        except BaseException as error:
            await finished(close_consumer(consumer))
            if isinstance(error, KafkaError | OSError):
                raise await why_not(self._broker, given, error) from None
            raise
        return link

    async def _join(self, consumer: Any, stand: Stand) -> KafkaLink:
        """A topic that is not there would be silent: a group shares out what there is."""
        if self._taking.topic not in await consumer.topics():
            raise Says(self._broker, self._taking).missing()
        return KafkaLink(self._broker, consumer, self._taking, stand)
