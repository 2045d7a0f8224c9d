"""aiokafka: settings, what its errors mean, and how to end what it leaves running."""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from headrace.clients.closing import finished, shortly
from headrace.core.broker import Broker

aiokafka: Final[Any] = import_module("aiokafka")  # it has no types
errors: Final[Any] = import_module("aiokafka.errors")
_conn: Final[Any] = import_module("aiokafka.conn")
KafkaError: Final[type[Exception]] = errors.KafkaError
REFUSALS: Final[tuple[type[Exception], ...]] = (
    errors.AuthenticationFailedError,
    errors.SaslAuthenticationFailed,
    errors.AuthenticationMethodNotSupported,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)
CONNECTION: Final = frozenset(
    {"client_id", "request_timeout_ms", "security_protocol", "ssl_context", "sasl_mechanism"}
    | {"sasl_plain_username", "sasl_plain_password"}
)
MOMENT_S: Final = 0.2
_CONSUMER_TASKS: Final = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
logging.getLogger("aiokafka.conn").addFilter(lambda record: "SaslAuthenticate" not in record.getMessage())
"""At DEBUG, the client would log the password."""


def settings(broker: Broker, client_id: str, *, request_ms: int, metadata_ms: int) -> dict[str, Any]:
    """What all clients of a broker are given."""
    found: dict[str, Any] = {
        "bootstrap_servers": broker.servers,
        "client_id": client_id,
        "request_timeout_ms": request_ms,
        "metadata_max_age_ms": metadata_ms,
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


async def why_not(broker: Broker, given: dict[str, Any], within_s: float) -> Exception | None:
    """Why a server does not let us in, which the client keeps for its log: all are asked again; None: none says why."""
    found: Exception | None = None
    options = {name: value for name, value in given.items() if name in CONNECTION}
    for host, port in broker.hosts:
        try:
            async with asyncio.timeout(within_s / len(broker.hosts)):
                (await _conn.create_conn(host, port, **options)).close()
        except TimeoutError:
            continue
        except (KafkaError, OSError) as error:
            found = error
    return found


async def begin(client: Any, most_s: float) -> None:
    """Start it, in its time; one that is left in the middle leaves a connection behind, so it has a moment more.

    Raises:
        TimeoutError: it takes longer.
    """
    starting = asyncio.get_running_loop().create_task(client.start())
    try:
        await asyncio.wait([starting], timeout=most_s)
        if not starting.done():
            raise TimeoutError
        starting.result()
    finally:
        if not starting.done():
            await finished(asyncio.wait([starting], timeout=MOMENT_S))
            starting.cancel()
            await finished(asyncio.wait([starting]))


async def close_consumer(consumer: Any, most_s: float) -> None:
    """Leave the group, if that is heard, and every connection; each step takes so long at most."""
    # There is no other way to have a member with a name leave, and to end what waits for a broker that is silent.
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001
    if coordinator is not None:
        coordinator._group_instance_id = None  # noqa: SLF001
    await shortly(consumer.stop, most_s)
    left = [getattr(coordinator, name, None) for name in _CONSUMER_TASKS]
    if fetcher is not None:
        left += [fetcher._fetch_task, *fetcher._pending_tasks]  # noqa: SLF001
    await _end(left, most_s)
    await shortly(consumer._client.close, most_s)  # noqa: SLF001


async def close_producer(producer: Any, most_s: float) -> None:
    """Leave every connection, and whatever was not sent; each step takes so long at most."""
    await shortly(producer.stop, most_s)
    # What a broker that is away does not take keeps a producer busy for ever.
    with suppress(Exception):
        waiting = producer._message_accumulator  # noqa: SLF001 - there is no other way
        for batch in (*waiting._pending_batches, *(one for some in waiting._batches.values() for one in some)):  # noqa: SLF001
            batch.future.add_done_callback(_seen)
        waiting.fail_all(KafkaError())
    await shortly(producer.client.close, most_s)
    if producer._sender is not None:  # noqa: SLF001
        await _end([producer._sender.sender_task], most_s)  # noqa: SLF001
    await shortly(producer.client.close, most_s)  # with what it opened meanwhile


async def _end(tasks: Iterable[Any], most_s: float) -> None:
    left = [task for task in tasks if task is not None]
    for task in left:
        task.cancel()
    if left:
        ended, _ = await asyncio.wait(left, timeout=most_s)
        for task in ended:
            _seen(task)


def _seen(failed: "asyncio.Future[Any]") -> None:
    _ = failed.cancelled() or failed.exception()
