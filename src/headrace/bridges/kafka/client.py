"""What both directions make of aiokafka: what its errors mean to them, and how it is begun."""

from importlib import import_module
from typing import Any, Final

from headrace.bridges import faults
from headrace.clients import kafka
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable

STRATEGIES: Final[tuple[Any, ...]] = (
    import_module("aiokafka.coordinator.assignors.roundrobin").RoundRobinPartitionAssignor,
    import_module("aiokafka.coordinator.assignors.range").RangePartitionAssignor,  # as members of other clients have it
)

CONNECT_S: Final = 10.0
REQUEST_MS: Final = 15_000
METADATA_MS: Final = 10_000
CLOSE_S: Final = 0.2


def settings(broker: Broker, client_id: str) -> dict[str, Any]:
    """What all clients of a broker are given."""
    return kafka.settings(broker, client_id, request_ms=REQUEST_MS, metadata_ms=METADATA_MS)


async def why_not(broker: Broker, given: dict[str, Any], error: Exception) -> BridgeError:
    """Why there is no connection; the client keeps that for its log, so the servers are asked again."""
    if isinstance(error, TimeoutError):
        return BridgeUnavailable(f"{broker.shown} does not answer")
    return told(broker, await kafka.why_not(broker, given, CONNECT_S) or error)


def told(broker: Broker, error: BaseException, group: str = "") -> BridgeError:
    """What an error of the client means."""
    if isinstance(error, kafka.REFUSALS):
        return faults.refused(broker)
    if isinstance(error, kafka.errors.InconsistentGroupProtocolError):
        return BridgeRefused(
            f"the group {group} of {broker.shown} has members that share partitions in another way: name another group"
        )
    if isinstance(error, kafka.errors.InvalidSessionTimeoutError):
        return BridgeRefused(
            f"{broker.shown} takes no member that is missed after 6 seconds: set group.min.session.timeout.ms to 6000"
        )
    if isinstance(error, kafka.errors.BrokerResponseError):
        return BridgeUnavailable(f"{broker.shown} answers with {type(error).__name__}")
    return faults.unreached(broker, error)


async def begin(client: Any) -> None:
    """Start it.

    Raises:
        TimeoutError: it takes too long.
    """
    await kafka.begin(client, CONNECT_S)


async def close_consumer(consumer: Any) -> None:
    """Leave the group, if that is heard, and every connection."""
    await kafka.close_consumer(consumer, CLOSE_S)


async def close_producer(producer: Any) -> None:
    """Leave every connection, and whatever was not sent."""
    await kafka.close_producer(producer, CLOSE_S)
