"""The transport that stands between an `httpx.AsyncClient` and an upstream."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final, final

import httpx

from headrace.core.errors import Rejected
from headrace.ports.upstream import Permit
from headrace.runtime.calling_hedge import Race, let_go
from headrace.runtime.calling_http import Answer, Caller, HttpCall, with_context, wrap_transports


@final
class _Body(httpx.AsyncByteStream):
    """The body of an answer; the call is over when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, call: HttpCall, permit: Permit, left: dict[int, Permit]) -> None:
        self._stream = stream
        self._call = call
        self._permit = permit
        self._left = left
        left[id(self)] = permit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except GeneratorExit:  # read no further, which is the reader's affair
            raise
        except BaseException as error:
            self._call.body_ended(self._permit, error)
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._left.pop(id(self), None)
            self._permit.succeeded()


@final
class AsyncGuarded(httpx.AsyncBaseTransport):
    """Every request goes through the guard, with its retries and its hedge."""

    def __init__(self, inner: httpx.AsyncBaseTransport, caller: Caller) -> None:
        """`inner` does the sending."""
        self._inner: Final = inner
        self._caller: Final = caller
        self._left: dict[int, Permit] = {}  # of answers that are not closed yet

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it.

        Raises:
            Rejected: the guard refused; nothing was sent.
            JobTimedOut: the job's deadline has passed; nothing was sent.
            httpx.TransportError: as httpx raises it, after the last try.
        """
        call = HttpCall(self._caller, request)
        try:
            answer = await self._answer(call)
        except BaseException:
            call.end(None)
            raise
        call.end(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _answer(self, call: HttpCall) -> Answer:
        permit = await self._caller.guard.acquire()
        while True:
            answer = await self._try(call, permit)
            delay_s = call.again_in(answer)
            if delay_s is None:
                return answer
            # What was answered is let go only when there is leave for another try.
            try:
                await self._caller.clock.sleep(delay_s)
                permit = await self._caller.guard.acquire()
            except Rejected:
                return answer
            except BaseException:
                await let_go(answer)
                raise
            await let_go(answer)

    async def _try(self, call: HttpCall, permit: Permit) -> Answer:
        hedge_after_s = self._caller.repeats.hedge_after_s
        if hedge_after_s is None or not call.repeatable:
            return await self._send(call, permit)
        race = Race(call)
        first = race.start(self._send(call, permit))
        try:
            await asyncio.wait((first,), timeout=hedge_after_s)
            if not first.done() and self._caller.guard.retry_allowed():
                _ = race.start(self._second(call))
            return await race.winner()
        finally:
            try:
                await race.close()
            finally:
                if first.cancelled():  # perhaps before its first step, when it had no part in its permit yet
                    permit.ignored()

    async def _second(self, call: HttpCall) -> Answer:
        try:
            permit = await self._caller.guard.acquire()
        except Rejected as refused:
            return refused
        return await self._send(call, permit)

    async def _send(self, call: HttpCall, permit: Permit) -> Answer:
        """One try: an answer or an error of the upstream's or of ours; raises what is neither."""
        bound_s, cut = call.bound_s()
        total = asyncio.timeout(bound_s)
        try:
            async with total:
                response = await self._inner.handle_async_request(call.request(bound_s))
        except Exception as raised:  # noqa: BLE001 - given back to be tried again or raised
            error = raised
            if total.expired() and isinstance(raised, TimeoutError):
                error = call.late(bound_s)
                error.__cause__ = raised
            call.broken(permit, error, cut=cut)
            return error
        except BaseException:
            permit.ignored()
            raise
        call.failed(permit, response)
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - as httpx does
        response.stream = _Body(response.stream, call, permit, self._left)
        return response

    # -- life -------------------------------------------------------------------------------------

    async def __aenter__(self) -> "AsyncGuarded":
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)
        self._forget()

    async def aclose(self) -> None:
        """Close the inner one, and give back the permits of answers that nobody closed."""
        await self._inner.aclose()
        self._forget()

    def _forget(self) -> None:
        while self._left:
            self._left.popitem()[1].ignored()


def client(caller: Caller, options: Mapping[str, Any]) -> httpx.AsyncClient:
    """An httpx client whose every transport is guarded."""
    made = httpx.AsyncClient(**with_context(options))
    wrap_transports(made, lambda inner: AsyncGuarded(inner, caller))
    return made
