"""The transport that stands between an `httpx.Client` and an upstream: as the asynchronous one, without hedges.

A thread cannot be interrupted, so a try as a whole is bounded only by the bounds of its parts.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, final

import httpx

from headrace.core.errors import Rejected
from headrace.ports.upstream import Permit
from headrace.runtime.calling_http import Answer, Caller, HttpCall, with_context, wrap_transports


@final
class _Body(httpx.SyncByteStream):
    """The body of an answer; the call is over when it is closed."""

    def __init__(self, stream: httpx.SyncByteStream, call: HttpCall, permit: Permit, left: dict[int, Permit]) -> None:
        self._stream = stream
        self._call = call
        self._permit = permit
        self._left = left
        left[id(self)] = permit

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:  # read no further, which is the reader's affair
            raise
        except BaseException as error:
            self._call.body_ended(self._permit, error)
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._left.pop(id(self), None)
            self._permit.succeeded()


@final
class SyncGuarded(httpx.BaseTransport):
    """Every request goes through the guard, with its retries."""

    def __init__(self, inner: httpx.BaseTransport, caller: Caller) -> None:
        """`inner` does the sending."""
        self._inner: Final = inner
        self._caller: Final = caller
        self._left: dict[int, Permit] = {}  # of answers that are not closed yet

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it.

        Raises:
            Rejected: the guard refused; nothing was sent.
            JobTimedOut: the job's deadline has passed; nothing was sent.
            httpx.TransportError: as httpx raises it, after the last try.
        """
        call = HttpCall(self._caller, request)
        try:
            answer = self._answer(call)
        except BaseException:
            call.end(None)
            raise
        call.end(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, call: HttpCall) -> Answer:
        permit = self._caller.guard.acquire_sync()
        while True:
            answer = self._send(call, permit)
            delay_s = call.again_in(answer)
            if delay_s is None:
                return answer
            # What was answered is let go only when there is leave for another try.
            try:
                time.sleep(delay_s)
                permit = self._caller.guard.acquire_sync()
            except Rejected:
                return answer
            except BaseException:
                _let_go(answer)
                raise
            _let_go(answer)

    def _send(self, call: HttpCall, permit: Permit) -> Answer:
        bound_s, cut = call.bound_s()
        try:
            response = self._inner.handle_request(call.request(bound_s))
        except Exception as error:  # noqa: BLE001 - given back to be tried again or raised
            call.broken(permit, error, cut=cut)
            return error
        except BaseException:
            permit.ignored()
            raise
        call.failed(permit, response)
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - as httpx does
        response.stream = _Body(response.stream, call, permit, self._left)
        return response

    # -- life -------------------------------------------------------------------------------------

    def __enter__(self) -> "SyncGuarded":
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)
        self._forget()

    def close(self) -> None:
        """Close the inner one, and give back the permits of answers that nobody closed."""
        self._inner.close()
        self._forget()

    def _forget(self) -> None:
        while self._left:
            self._left.popitem()[1].ignored()


def client(caller: Caller, options: Mapping[str, Any]) -> httpx.Client:
    """An httpx client whose every transport is guarded."""
    made = httpx.Client(**with_context(options))
    wrap_transports(made, lambda inner: SyncGuarded(inner, caller))
    return made


def _let_go(answer: Answer) -> None:
    if isinstance(answer, httpx.Response):
        with suppress(httpx.HTTPError, OSError):
            answer.close()
