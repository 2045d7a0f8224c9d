"""The body of a webhook's task: one delivery, signed, posted once, and judged by its answer.

Invariant: an attempt makes one request, at most; what it learned is in the job, as its result or its failure.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, final

import httpx

from headrace.core.addresses import AddressPolicy
from headrace.core.deliveries import EXCERPT_CHARS_MAX, SCHEDULE, Meaning, Payload, meaning, told
from headrace.core.errors import Rejected
from headrace.core.webhooks import Secret, signed_headers
from headrace.ports.clock import Clock
from headrace.ports.upstream import Guard, Permit
from headrace.runtime.calling_http import retry_after_s
from headrace.runtime.context import JobContext
from headrace.runtime.failures import storable
from headrace.runtime.pinned import AddressRefused, PinnedTransport, Resolve, resolve

BODY_BYTES_MAX: Final = 64 << 10
BODY_S: Final = 2.0
"""An answer counts by its status; for so long its body is read, to be shown."""
AGENT: Final = f"headrace/{version('headrace')} webhooks"
SNOOZE_S: Final = 1.0
CONNECT_S: Final = 5.0
"""For each address of a name."""


class DeliveryFailed(Exception):
    """The event has not arrived; the message says what was answered, or what was in the way."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result of a delivery: how it was answered, after how many seconds, and how the answer's body begins."""

    status: int
    seconds: float
    body: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the deliveries of one webhook go."""

    url: str = field(repr=False)
    policy: AddressPolicy
    timeout_s: float
    secrets: Callable[[], Awaitable[Sequence[Secret]]]
    disable: Callable[[str], Awaitable[object]]  # for all processes; what it is given is shown as the reason
    verify: ssl.SSLContext | None = None
    resolve: Resolve = resolve


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    excerpt: str
    retry_after_s: float | None


@final
class Sender:
    """Makes the deliveries of one webhook in this process."""

    def __init__(self, endpoint: Endpoint, guard: Guard, clock: Clock) -> None:
        """`guard` is that of the endpoint's upstream."""
        self._endpoint = endpoint
        self._guard = guard
        self._clock = clock
        self._rng = random.Random()  # noqa: S311 - jitter

    async def deliver(self, ctx: JobContext, payload: Payload) -> Delivered:
        """Post it.

        Raises:
            DeliveryFailed: it has not arrived; the schedule says when it is tried again.
            Steer: not now, or never: the breaker refused, the endpoint named a time, or it is gone.
        """
        secrets = await self._endpoint.secrets()
        try:
            permit = await self._guard.acquire()
        except Rejected as refused:  # nothing was sent, so this is no failure
            raise ctx.snooze(max(refused.retry_in or 0.0, SNOOZE_S), str(refused)) from None
        try:
            began = self._clock.now()
            answer = await self._answer(payload, secrets, permit)
            took_s = self._clock.now() - began
        finally:
            permit.ignored()  # of no effect where it has ended already
        if meaning(answer.status) is Meaning.DELIVERED:
            return Delivered(answer.status, round(took_s, 3), answer.excerpt)
        words = told(answer.status, answer.excerpt)
        if meaning(answer.status) is Meaning.GONE:
            await self._endpoint.disable(words)
            raise ctx.abandon(f"{words}; nothing is sent there until the webhook is enabled again")
        if answer.retry_after_s is None:
            raise DeliveryFailed(words)
        # What was asked for makes the wait longer, never shorter: the attempts are meant to cover days.
        due_s = SCHEDULE.delay_s(ctx.failures + 1, self._rng)
        raise ctx.retry(max(answer.retry_after_s, due_s), words)

    async def _answer(self, payload: Payload, secrets: Sequence[Secret], permit: Permit) -> _Answer:
        """The answer; the permit has ended, unless this was cancelled.

        Raises:
            DeliveryFailed: there is none.
        """
        endpoint = self._endpoint
        transport = PinnedTransport(endpoint.policy, verify=endpoint.verify, ask=endpoint.resolve)
        async with transport:
            try:
                async with asyncio.timeout(endpoint.timeout_s):
                    response = await transport.handle_async_request(self._request(payload, secrets))
            except (httpx.TimeoutException, TimeoutError):
                permit.failed()
                raise DeliveryFailed(f"there was no answer within {endpoint.timeout_s:g} s") from None
            except (AddressRefused, httpx.TransportError, OSError) as error:
                permit.failed()
                raise DeliveryFailed(_trouble(error)) from None
            if meaning(response.status_code) is Meaning.FAILING:
                permit.failed()
            else:
                permit.succeeded()
            try:
                excerpt = await _excerpt(response)
            finally:
                await response.aclose()
        return _Answer(response.status_code, excerpt, retry_after_s(response, self._clock))

    def _request(self, payload: Payload, secrets: Sequence[Secret]) -> httpx.Request:
        """Handed to the transport as it is: a client would log its URL, and has cookies and redirects."""
        body = payload.body.encode("utf-8")
        headers = {
            "Content-Type": payload.content_type,
            "User-Agent": AGENT,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **signed_headers(secrets, payload.id, self._clock.wall(), body),
        }
        timeout_s = self._endpoint.timeout_s
        parts = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)).as_dict()
        return httpx.Request("POST", self._endpoint.url, content=body, headers=headers, extensions={"timeout": parts})


async def _excerpt(response: httpx.Response) -> str:
    """How the body begins, if it is text; never more than a bound of it is read, nor for long."""
    read = bytearray()
    with suppress(TimeoutError, httpx.HTTPError, OSError):
        async with asyncio.timeout(BODY_S):
            async for part in response.aiter_raw():
                read += part
                if len(read) >= BODY_BYTES_MAX:
                    break
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return ""  # it was not asked for, and is not unpacked
    return storable(bytes(read[: 4 * EXCERPT_CHARS_MAX]).decode("utf-8", "replace"))[:EXCERPT_CHARS_MAX]


def _trouble(error: Exception) -> str:
    """What was in the way, without the URL, which may be a secret."""
    text = " ".join(str(error).split())[:EXCERPT_CHARS_MAX]
    if isinstance(error, AddressRefused | OSError):
        return text
    kind = "no connection" if isinstance(error, httpx.ConnectError) else type(error).__name__
    return f"{kind}: {text}" if text else kind


def body_of(sender: Sender) -> Callable[..., Awaitable[Delivered]]:
    """The function of a webhook's task."""

    async def deliver(ctx: JobContext, id: str, type: str | None, content_type: str, body: str) -> Delivered:  # noqa: A002 - as they are shown
        return await sender.deliver(ctx, Payload(id, type, content_type, body))

    return deliver
