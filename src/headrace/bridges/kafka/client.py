"""What both directions make of aiokafka: settings, what its errors mean, and how to end what it leaves running."""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from headrace.bridges import faults
from headrace.bridges.closing import finished, shortly
from headrace.core.broker import Broker
from headrace.core.errors import BridgeError, BridgeRefused, BridgeUnavailable

aiokafka: Final[Any] = import_module("aiokafka")  # it has no types
errors: Final[Any] = import_module("aiokafka.errors")
_conn: Final[Any] = import_module("aiokafka.conn")
STRATEGIES: Final[tuple[Any, ...]] = (
    import_module("aiokafka.coordinator.assignors.roundrobin").RoundRobinPartitionAssignor,
    import_module("aiokafka.coordinator.assignors.range").RangePartitionAssignor,  # as members of other clients have it
)
KafkaError: Final[type[Exception]] = errors.KafkaError
REFUSALS: Final[tuple[type[Exception], ...]] = (
    errors.AuthenticationFailedError,
    errors.SaslAuthenticationFailed,
    errors.AuthenticationMethodNotSupported,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)

CONNECT_S: Final = 10.0
REQUEST_MS: Final = 15_000
METADATA_MS: Final = 10_000
CLOSE_S: Final = 0.2
CONNECTION: Final = frozenset(
    {"client_id", "request_timeout_ms", "security_protocol", "ssl_context", "sasl_mechanism"}
    | {"sasl_plain_username", "sasl_plain_password"}
)
logging.getLogger("aiokafka.conn").addFilter(lambda record: "SaslAuthenticate" not in record.getMessage())
"""At DEBUG, the client would log the password."""


def settings(broker: Broker, client_id: str) -> dict[str, Any]:
    """What all clients of a broker are given."""
    found: dict[str, Any] = {
        "bootstrap_servers": broker.servers,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_MS,
        "metadata_max_age_ms": METADATA_MS,
        "security_protocol": ("SASL_" if broker.user else "") + ("SSL" if broker.tls else "PLAINTEXT"),
    }
    if broker.tls:
        found["ssl_context"] = ssl.create_default_context()
    if broker.user:
        found |= {
            "sasl_mechanism": broker.options.get("sasl", "PLAIN"),
            "sasl_plain_username": broker.user,
            "sasl_plain_password": broker.password or "",
        }
    return found


async def why_not(broker: Broker, given: dict[str, Any], error: Exception) -> BridgeError:
    """Why there is no connection; the client keeps that for its log, so one of the servers is asked again."""
    if isinstance(error, TimeoutError):
        return BridgeUnavailable(f"{broker.shown} does not answer")
    options = {name: value for name, value in given.items() if name in CONNECTION}
    with suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_S):
            for host, port in broker.hosts:
                try:
                    (await _conn.create_conn(host, port, **options)).close()
                except (KafkaError, OSError) as found:
                    error = found
    return told(broker, error)


def told(broker: Broker, error: BaseException, group: str = "") -> BridgeError:
    """What an error of the client means."""
    if isinstance(error, REFUSALS):
        return faults.refused(broker)
    if isinstance(error, errors.InconsistentGroupProtocolError):
        return BridgeRefused(
            f"the group {group} of {broker.shown} has members that share partitions in another way: name another group"
        )
    if isinstance(error, errors.InvalidSessionTimeoutError):
        return BridgeRefused(
            f"{broker.shown} takes no member that is missed after 6 seconds: set group.min.session.timeout.ms to 6000"
        )
    if isinstance(error, errors.BrokerResponseError):
        return BridgeUnavailable(f"{broker.shown} answers with {type(error).__name__}")
    return faults.unreached(broker, error)


async def begin(client: Any) -> None:
    """Start it, in its time; one that is left in the middle leaves a connection behind, so it has a moment more.

    Raises:
        TimeoutError: it takes longer.
    """
    starting = asyncio.get_running_loop().create_task(client.start())
    try:
        await asyncio.wait([starting], timeout=CONNECT_S)
        if not starting.done():
            raise TimeoutError
        starting.result()
    finally:
        if not starting.done():
            await finished(asyncio.wait([starting], timeout=CLOSE_S))
            starting.cancel()
            await finished(asyncio.wait([starting]))


async def close_consumer(consumer: Any) -> None:
    """Leave the group, if that is heard, and every connection."""
    # There is no other way to have a member with a name leave, and to end what waits for a broker that is silent.
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001
    if coordinator is not None:
        coordinator._group_instance_id = None  # noqa: SLF001
    await shortly(consumer.stop, CLOSE_S)
    left = list[Any]()
    if coordinator is not None:
        left += [coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task]  # noqa: SLF001
    if fetcher is not None:
        left += [fetcher._fetch_task, *fetcher._pending_tasks]  # noqa: SLF001
    await _end(left)
    await shortly(consumer._client.close, CLOSE_S)  # noqa: SLF001


async def close_producer(producer: Any) -> None:
    """Leave every connection, and whatever was not sent."""
    await shortly(producer.stop, CLOSE_S)
    with suppress(Exception):
        waiting = producer._message_accumulator  # noqa: SLF001 - there is no other way
        for batch in (*waiting._pending_batches, *(one for some in waiting._batches.values() for one in some)):  # noqa: SLF001
            batch.future.add_done_callback(_seen)
        waiting.fail_all(KafkaError())
    await shortly(producer.client.close, CLOSE_S)
    if producer._sender is not None:  # noqa: SLF001
        await _end([producer._sender.sender_task])  # noqa: SLF001
    await shortly(producer.client.close, CLOSE_S)  # with what it opened meanwhile


async def _end(tasks: Iterable[Any]) -> None:
    left = [task for task in tasks if task is not None]
    for task in left:
        task.cancel()
    if left:
        ended, _ = await asyncio.wait(left, timeout=CLOSE_S)
        for task in ended:
            _seen(task)


def _seen(failed: "asyncio.Future[Any]") -> None:
    _ = failed.cancelled() or failed.exception()
