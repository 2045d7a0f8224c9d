"""One HTTP call to an upstream: how long a try may take, how it counted, whether there is another.

Shared by both transports. Invariant: every try has a permit of its own, and each is ended.
"""

import hashlib
import random
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final, TypeAlias, cast, final

import httpx

from headrace.core.classify import Classify
from headrace.core.errors import InvalidConfig
from headrace.core.retry import Retry
from headrace.ports.clock import Clock
from headrace.ports.upstream import Guard, Permit
from headrace.runtime.blame import ANSWER_MARK
from headrace.runtime.calling_attempt import SAFE_METHODS, Origin

Answer: TypeAlias = httpx.Response | Exception

BACK_OFF: Final = Retry(initial=0.1, factor=2.0, cap=2.0)
RETRY_AFTER_S_MAX: Final = 5.0
"""An upstream that asks for more than this is not waited for: the caller gets its answer."""
ASKED_S_MAX: Final = 86_400.0
"""No more than a day is believed."""
LEFT_S_MIN: Final = 0.001
RETRIES_MAX: Final = 10
REPEATED_STATUSES: Final = frozenset({429, 502, 503, 504})
REPEATABLE_METHODS: Final = SAFE_METHODS | {"PUT", "DELETE"}
_REPEATED_ERRORS: Final = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)
_OUR_OWN: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.PoolTimeout)
_THEIRS: Final = (httpx.TransportError, ConnectionError, TimeoutError, socket.gaierror)
_PARTS: Final = ("connect", "read", "write", "pool")


@dataclass(frozen=True, slots=True)
class Repeats:
    """When a client tries again by itself."""

    retries: int = 2
    methods: frozenset[str] = field(default=SAFE_METHODS)
    hedge_after_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 <= self.retries <= RETRIES_MAX:
            raise InvalidConfig(f"retries is between 0 and {RETRIES_MAX}, not {self.retries}")
        wrong = sorted(self.methods - REPEATABLE_METHODS)
        if wrong:
            allowed = ", ".join(sorted(REPEATABLE_METHODS))
            raise InvalidConfig(
                f"retry_methods are of {allowed}, not {wrong[0]}: another attempt of the job repeats that, "
                "under the same Idempotency-Key"
            )


@dataclass(frozen=True, slots=True)
class Caller:
    """What the calls of one client share."""

    guard: Guard
    classify: Classify
    repeats: Repeats
    clock: Clock
    rng: random.Random = field(default_factory=random.Random)


@final
class HttpCall:
    """One request and its tries."""

    def __init__(self, caller: Caller, request: httpx.Request) -> None:
        """Signs the request.

        Raises:
            JobTimedOut: the deadline of the job that calls has passed.
        """
        self._caller = caller
        self._request = request
        self._tries = 0
        self._origin = Origin(caller.clock)
        self._origin.check()
        in_memory = isinstance(request.stream, httpx.ByteStream)
        self.repeatable = in_memory and request.method in caller.repeats.methods
        unsafe = in_memory and request.method not in SAFE_METHODS
        self._origin.sign(request.headers, _like(request) if unsafe else None)

    # -- a try ------------------------------------------------------------------------------------

    def bound_s(self) -> tuple[float | None, bool]:
        """How long a try may take as a whole, and whether it is the job's deadline that says so.

        A deadline that leaves less than the upstream may take is not the upstream's fault.
        """
        own_s, left_s = self._caller.guard.timeout_s, self._origin.left_s()
        if left_s is None:
            return own_s, False
        asked = [each for each in (own_s, self._parts().get("read")) if each is not None]
        left_s = max(left_s, LEFT_S_MIN)
        return (left_s if own_s is None else min(own_s, left_s)), bool(asked) and left_s < min(asked)

    def request(self, bound_s: float | None) -> httpx.Request:
        """The request as this try sends it."""
        parts = self._parts()
        if bound_s is not None:
            parts = {name: min(bound_s, parts.get(name) or bound_s) for name in _PARTS}
        tried = httpx.Request(
            self._request.method,
            self._request.url,
            headers=self._request.headers,
            stream=self._request.stream,
            extensions={**self._request.extensions, "timeout": parts},
        )
        given = [each for each in (bound_s, parts.get("read")) if each is not None]
        self._origin.sign_try(tried.headers, min(given, default=None))
        return tried

    def _parts(self) -> dict[str, float | None]:
        return cast("dict[str, float | None]", self._request.extensions.get("timeout", {}))

    def late(self, bound_s: float | None) -> httpx.ReadTimeout:
        """The error of a try that took too long as a whole."""
        return httpx.ReadTimeout(f"no answer from {self._caller.guard.name!r} within {bound_s:.3g} s")

    def is_failure(self, error: BaseException) -> bool:
        """Whether an error of the transport is the upstream's."""
        classify = self._caller.classify
        if classify.is_ignored(error):
            return False
        if isinstance(error, _THEIRS):
            return not isinstance(error, _OUR_OWN) or classify.is_listed(error)
        return classify.is_listed(error)

    def broken(self, permit: Permit, error: BaseException, *, cut: bool) -> None:
        """A try has ended with an error; `cut`: the job's deadline left it too little time."""
        if self.is_failure(error) and not (cut and isinstance(error, httpx.TimeoutException)):
            permit.failed(error)
        else:
            permit.ignored()

    def failed(self, permit: Permit, response: httpx.Response) -> bool:
        """Whether the answer is a failure; if so it is counted, and marked for `raise_for_status`."""
        if response.status_code not in self._caller.classify.failure_statuses:
            return False
        after_s = retry_after_s(response, self._caller.clock)
        response.extensions[ANSWER_MARK] = (self._caller.guard.name, after_s)
        permit.failed(None, after_s)
        return True

    def body_ended(self, permit: Permit, error: BaseException) -> None:
        """The body broke off, or nobody waits for it any more."""
        if self.is_failure(error):
            permit.failed(error)  # counts nothing if the answer was a failure already
            self._caller.guard.blame(error)
        else:
            permit.ignored()

    # -- the next one -----------------------------------------------------------------------------

    def good(self, answer: Answer) -> bool:
        """Whether there is nothing better to hope for from a second try."""
        return isinstance(answer, httpx.Response) and ANSWER_MARK not in answer.extensions

    def again_in(self, answer: Answer) -> float | None:
        """How long to wait before the next try, which is then taken from the budget; None: this was the last."""
        if not self.repeatable or self._tries >= self._caller.repeats.retries or not self._worth_it(answer):
            return None
        delay_s = BACK_OFF.delay_s(self._tries + 1, self._caller.rng)
        if isinstance(answer, httpx.Response):
            after_s = retry_after_s(answer, self._caller.clock) or 0.0
            if after_s > RETRY_AFTER_S_MAX:
                return None
            delay_s = max(delay_s, after_s)
        left_s = self._origin.left_s()
        if self._origin.stopping or (left_s is not None and delay_s >= left_s):
            return None
        if not self._caller.guard.retry_allowed():
            return None
        self._tries += 1
        return delay_s

    def _worth_it(self, answer: Answer) -> bool:
        if isinstance(answer, httpx.Response):
            return answer.status_code in REPEATED_STATUSES and not self.good(answer)
        return isinstance(answer, _REPEATED_ERRORS) and self.is_failure(answer)

    def end(self, answer: Answer | None) -> None:
        """There will be no other try; None: it was given up."""
        self._origin.landed(answer.status_code if isinstance(answer, httpx.Response) else None)


def _like(request: httpx.Request) -> str:
    return f"{request.method}\n{request.url}\n{hashlib.sha256(request.content).hexdigest()}"


def retry_after_s(response: httpx.Response, clock: Clock) -> float | None:
    """What `Retry-After` asks for: seconds, or until a date."""
    text = response.headers.get("retry-after", "").strip()
    try:
        asked_s = float(text) if text.isascii() and text.isdigit() else _until(text, clock)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(asked_s, 0.0), ASKED_S_MAX)


def _until(date: str, clock: Clock) -> float:
    return parsedate_to_datetime(date).timestamp() - clock.wall()


WrapAny: TypeAlias = Callable[[Any], Any]


@cache
def tls_context() -> ssl.SSLContext:
    """The TLS context that httpx makes, made once: reading the certificates takes longer than most calls."""
    return httpx.create_ssl_context()


def with_context(options: Mapping[str, Any]) -> dict[str, Any]:
    """A client's options, with a TLS context that is shared, unless they say something of it."""
    own = any(name in options for name in ("verify", "cert", "trust_env", "transport"))
    return dict(options) if own else {"verify": tls_context(), **options}


def wrap_transports(client: httpx.AsyncClient | httpx.Client, wrap: WrapAny) -> None:
    """Put the guard around every transport of a client: its own, those of proxies and those of `mounts`.

    httpx has no public word for it that would leave the proxies of the environment as they are.
    """
    inside: Any = client
    inside._transport = wrap(inside._transport)  # noqa: SLF001
    mounts: dict[Any, Any] = inside._mounts  # noqa: SLF001
    for pattern, transport in mounts.items():
        mounts[pattern] = None if transport is None else wrap(transport)
