"""nats-py: a connection that ends when it is lost.

The client's own reconnecting is off: while it is at it, what is published fills a buffer or is lost without a word.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from headrace.clients.closing import shortly
from headrace.core.broker import Broker

PING_S: Final = 5


async def connect(
    client: Any,
    broker: Broker,
    name: str,
    connect_s: float,
    *,
    trouble: Callable[[Exception], Awaitable[None]],
    lost: Callable[[], Awaitable[None]],
) -> None:
    """Connect it; `trouble` is told what the server says later, and `lost` that there is no connection any more."""
    await client.connect(
        [f"{'tls' if broker.tls else 'nats'}://{server}" for server in broker.servers],
        name=name,
        user=broker.user,
        password=broker.password,
        tls=ssl.create_default_context() if broker.tls else None,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        connect_timeout=int(connect_s),
        ping_interval=PING_S,
        max_outstanding_pings=2,
        pending_size=-1,
        error_cb=trouble,
        closed_cb=lost,
        disconnected_cb=lost,
    )


async def close(client: Any, most_s: float) -> None:
    """Let go of it."""
    await shortly(client.close, most_s)
    abort(client)


def abort(client: Any) -> None:
    """Close its socket, whatever was to be written."""
    transport: Any = getattr(client, "_transport", None)
    with suppress(Exception):  # there is none, or not any more
        transport._io_writer.transport.abort()  # noqa: SLF001 - there is no other way


def refuses(errors: Iterable[BaseException]) -> bool:
    """Whether the server does not let us in."""
    return any("authorization" in str(error).lower() for error in errors)
