"""redis-py: a client whose connections do not come back by themselves, and who is not let in."""

from importlib import import_module
from typing import Any, Final

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

from headrace.core.broker import Broker

_redis: Final[Any] = import_module("redis.asyncio")  # its types are unknown in part


def client(broker: Broker, name: str, connect_s: float) -> Any:
    """One that has no connection yet."""
    return _redis.Redis.from_url(
        broker.url,
        protocol=2,
        socket_connect_timeout=connect_s,
        socket_timeout=None,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        client_name=name,
        **({"ssl_check_hostname": True} if broker.tls else {}),  # before version 6 it was not, by default
    )


def refuses(error: BaseException) -> bool:
    """Whether the server does not let us in, or not do this."""
    return isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError) or "AUTH" in str(error)
