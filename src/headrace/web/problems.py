"""Refusals as RFC 9457 answers inside our prefix; the host app's handlers stay untouched.

Its own endpoints get one default: a store that is away, or a policy that refuses an enqueue, is 503 or 429 with
Retry-After, not 500.
"""

import json
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from inspect import isawaitable
from typing import Any, ClassVar, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from headrace.core.admission import Reason, Room
from headrace.core.errors import HeadraceError, Rejected, StoreError
from headrace.core.problems import KINDS, Problem, problem_of

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_SAFE: Final = "!#$&'()*+,/:;<=>?@[]^`{|} "  # in a structured field's string, beside letters and digits
_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large", 401: "unauthorized", 403: "forbidden"}


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(self, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: object) -> None:
        """`code` is one of `core.problems.KINDS`."""
        super().__init__(detail)
        self.problem = Problem(code, detail, extra=extra)
        self.headers = headers


def answer(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The problem as an HTTP answer."""
    given = {"Cache-Control": "no-store", **(headers or {})}
    if problem.status == 401:  # noqa: PLR2004 - RFC 9110: it names the scheme
        given.setdefault("WWW-Authenticate", 'Bearer realm="headrace"')
    if problem.status in (429, 503):
        given.setdefault("Retry-After", str(RETRY_AFTER_S))
    # As ASCII: a reason may repeat what a client sent, and UTF-8 cannot carry a lone surrogate.
    return Response(json.dumps(problem.members()), problem.status, given, media_type=MEDIA_TYPE)


class ProblemRoute(APIRoute):
    """A route whose every refusal is a problem, and whose body is bounded while it is read.

    `admit` runs first: who brings no credential learns nothing, not even that the body is wrong.
    """

    body_bytes_max: ClassVar[int] = 1 << 24

    async def admit(self, request: Request) -> None:
        """Refuse the request, or do nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with its errors told our way."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                await self.admit(request)
                return await handle(_bounded(request, self.body_bytes_max))
            except ClientDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - whatever went wrong is told our way
                return told_as(error)

        return told


def told_as(error: Exception) -> Response:
    """What went wrong as an answer; what is nobody's mistake but ours is logged."""
    if isinstance(error, HTTPException) and (unread := _unread(error.__cause__)) is not None:
        error = unread
    match error:
        case Refused():
            return answer(error.problem, error.headers)
        case RequestValidationError():
            return answer(_misfit(error))
        case HTTPException():
            code = _BY_STATUS.get(error.status_code, "bad-request")
            return answer(Problem(code, str(error.detail)), dict(error.headers or {}))
        case HeadraceError() if (problem := problem_of(error)).code != "internal":
            return answer(problem, when(error))
        case _:
            logger.error("a request failed", exc_info=error)
            return answer(Problem("internal", KINDS["internal"].title))


def when(error: Exception) -> dict[str, str]:
    """The header fields that tell when to come again."""
    if not isinstance(error, Rejected):
        return {}
    fields = rate_limit(error.rooms)
    if error.retry_in is not None:
        fields["Retry-After"] = str(max(1, math.ceil(error.retry_in)))
    return fields


def rate_limit(rooms: Iterable[Room]) -> dict[str, str]:
    """What is left of a queue's bounds, as draft-ietf-httpapi-ratelimit-headers-11 says it; nothing without bounds."""
    policies: list[str] = []
    lefts: list[str] = []
    for room in rooms:
        name = quote(room.queue, safe=_SAFE) + ("-age" if room.reason is Reason.AGE else "")
        policies.append(f'"{name}";q={room.quota}' + ("" if room.window_s is None else f";w={room.window_s}"))
        lefts.append(f'"{name}";r={room.left}' + ("" if room.more_in_s is None else f";t={room.more_in_s}"))
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(lefts)} if policies else {}


async def come_again(request: Request, error: Exception) -> Response:
    """What an endpoint of the host's answers where it lets `StoreUnavailable` or a `Rejected` through.

    A handler of the host's for an error that this one is a kind of goes first. What the database said
    stands in the log: who asks here may be anybody.
    """
    handlers = request.app.exception_handlers
    for base in (StoreError, HeadraceError):
        if base in handlers and isinstance(error, base):
            told: Response | Awaitable[Response] = handlers[base](request, error)
            return await told if isawaitable(told) else told
    if request.scope["type"] != "http":
        raise error
    rejected = isinstance(error, Rejected)  # many, when there are any
    logger.log(logging.DEBUG if rejected else logging.WARNING, "%s %s: %s", request.method, request.url.path, error)
    code = error.code if isinstance(error, HeadraceError) and error.code in KINDS else "rejected"
    return answer(Problem(code, KINDS[code].title), when(error))


def _bounded(request: Request, most: int) -> Request:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    seen = 0
    receive: Receive = request.receive

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise _too_large(most)
        return message

    return Request(request.scope, counted)


def _too_large(most: int) -> Refused:
    return Refused("body-too-large", f"a request's body may have {most:,} bytes")


def _unread(why: BaseException | None) -> Refused | None:
    """Why FastAPI could not read a body, where it does not say it."""
    match why:
        case Refused():
            return why
        case UnicodeDecodeError():
            what = f"byte {why.start} of the body" if why.encoding == "utf-8" else "the body"  # a BOM may mislead
            return Refused("bad-request", f"{what} is no UTF-8: send JSON in UTF-8")
        case RecursionError():
            return Refused("bad-request", "the body is nested too deeply: flatten it")
        case _:
            return None


def _misfit(error: RequestValidationError) -> Problem:
    errors = tuple((".".join(str(part) for part in each["loc"]) or "body", str(each["msg"])) for each in error.errors())
    if any(each["type"] == "json_invalid" for each in error.errors()):
        return Problem("bad-request", "the body is not JSON", errors)
    return Problem("invalid-request", "; ".join(f"{field}: {why}" for field, why in errors)[:1_000], errors)


_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. `type` is stable; clients switch on it.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for these statuses; 503 is always among them."""
    said: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 503}):
        titles = [kind.title for kind in KINDS.values() if kind.status == status]
        said[status] = {"description": " · ".join(titles), "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
    return said
