"""The transport for URLs that somebody else has chosen: a name is looked up, checked, and called where it was found.

Invariant: no byte goes to an address that the policy does not allow. What was checked is what is connected to, so a
name that is answered otherwise a moment later (DNS rebinding) gains nothing.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, final

import httpx

from headrace.core.addresses import AddressPolicy
from headrace.runtime.calling_http import tls_context

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name, for a port."""

RESOLVE_S: Final = 5.0
ADDRESSES_MAX: Final = 4
_PORTS: Final = {"https": 443, "http": 80}


class AddressRefused(Exception):
    """A name leads to an address that may not be called; nothing was sent."""


async def resolve(host: str, port: int) -> list[str]:
    """What this machine's resolver says, in the order in which to try.

    Raises:
        OSError: it has no answer.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@final
class PinnedTransport(httpx.AsyncBaseTransport):
    """Calls a name at an address that was checked; the certificate must be the name's all the same.

    It uses no proxy, and keeps no connection: each request asks anew where its name leads.
    """

    def __init__(self, policy: AddressPolicy, *, verify: ssl.SSLContext | None = None, ask: Resolve = resolve) -> None:
        """`verify` is the TLS context; without it, the certificates that httpx trusts."""
        self._policy = policy
        self._ask = ask
        self._inner = httpx.AsyncHTTPTransport(
            verify=tls_context() if verify is None else verify,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it to the first of the name's addresses that answers.

        Raises:
            AddressRefused: one of them may not be called; nothing was sent.
            OSError: the name cannot be found.
            httpx.TransportError: as httpx raises it, of the last address that was tried.
        """
        addresses = await self._addresses(request.url)
        for address in addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._inner.handle_async_request(_pinned(request, addresses[-1]))

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        host = _host(url)
        port = url.port or _PORTS.get(url.scheme, 0)
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self._ask(host, port)
        except TimeoutError:
            raise OSError(f"{host} was not found within {RESOLVE_S:g} s") from None
        except (OSError, UnicodeError) as error:
            raise OSError(f"{host} was not found: {getattr(error, 'strerror', None) or error}") from None
        if not found:
            raise OSError(f"{host} has no address")
        why = self._policy.first_refusal(found)
        if why is not None:
            raise AddressRefused(f"{host} is not called: {why}")
        return found[:ADDRESSES_MAX]

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._inner.aclose()


def _host(url: httpx.URL) -> str:
    """As DNS and the certificate have it."""
    return url.raw_host.decode("ascii").removesuffix(".")


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """The request to an address; its `Host` header stays."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": _host(request.url)},
    )
