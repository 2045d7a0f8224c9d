"""Problems: what a refusal is called on the wire, in HTTP answers (RFC 9457) and in the live feed's frames.

Invariant: a code is never renamed or reused; clients switch on `type`.
"""

from dataclasses import dataclass, field
from typing import Final

from headrace.core.errors import HeadraceError, InvalidArguments

TYPE_PREFIX: Final = "urn:headrace:problem:"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: its HTTP status and its short, constant title."""

    status: int
    title: str


KINDS: Final[dict[str, ProblemKind]] = {
    # the request
    "bad-request": ProblemKind(400, "The request cannot be read"),
    "token-in-url": ProblemKind(400, "Credentials do not belong in a URL"),
    "invalid-page-token": ProblemKind(400, "The page token belongs to another listing"),
    "invalid-idempotency-key": ProblemKind(400, "The Idempotency-Key cannot be used"),
    "unauthorized": ProblemKind(401, "A credential is needed"),
    "token-expired": ProblemKind(401, "The token has expired"),
    "forbidden": ProblemKind(403, "This credential does not allow that"),
    "origin-refused": ProblemKind(403, "Requests from this origin are refused"),
    "not-found": ProblemKind(404, "There is nothing here"),
    "method-not-allowed": ProblemKind(405, "This method is not possible here"),
    "idempotency-in-flight": ProblemKind(409, "The first request with this Idempotency-Key is still in flight"),
    "body-too-large": ProblemKind(413, "The request's body is too large"),
    "invalid-request": ProblemKind(422, "The request does not fit its description"),
    "idempotency-mismatch": ProblemKind(422, "This Idempotency-Key was used with another request"),
    # jobs
    "unknown-job": ProblemKind(404, "There is no such job"),
    "unknown-upstream": ProblemKind(404, "There is no such upstream"),
    "unknown-webhook": ProblemKind(404, "There is no such webhook"),
    "illegal-transition": ProblemKind(409, "The job's state does not allow this"),
    "conflict": ProblemKind(409, "The key belongs to another job"),
    "result-expired": ProblemKind(410, "The result is past its retention"),
    "payload-too-large": ProblemKind(413, "A value is too large"),
    "unknown-task": ProblemKind(422, "There is no such task"),
    "invalid-arguments": ProblemKind(422, "The arguments do not fit the task"),
    "not-encodable": ProblemKind(422, "A value cannot be carried as JSON"),
    "usage": ProblemKind(422, "The request cannot work"),
    # the live feed
    "bad-frame": ProblemKind(400, "The frame cannot be read"),
    "subscription-exists": ProblemKind(409, "This subscription id is in use"),
    "unknown-subscription": ProblemKind(404, "There is no such subscription"),
    "too-many-topics": ProblemKind(429, "Too many subscriptions on one connection"),
    "too-many-connections": ProblemKind(503, "Too many live connections"),
    # the server
    "full": ProblemKind(429, "A bound was reached"),
    "shed": ProblemKind(429, "The queue is overloaded"),
    "rejected": ProblemKind(503, "The call was refused for now"),
    "store-unavailable": ProblemKind(503, "The store is out of reach"),
    "store-unusable": ProblemKind(503, "The store needs a person"),
    "store-moved": ProblemKind(503, "The jobs have moved to another store"),
    "schema-mismatch": ProblemKind(503, "The store's schema is of another version"),
    "not-ready": ProblemKind(503, "Not ready yet"),
    "internal": ProblemKind(500, "Something went wrong here"),
    "not-installed": ProblemKind(501, "A package that this needs is not installed"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal. `extra` holds further members; `errors` pairs a field with the reason."""

    code: str
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    extra: dict[str, object] = field(default_factory=dict[str, object])

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.code].status

    def members(self) -> dict[str, object]:
        """The members of the problem object."""
        kind = KINDS[self.code]
        members: dict[str, object] = {
            "type": TYPE_PREFIX + self.code,
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
        }
        if self.errors:
            members["errors"] = [{"field": name, "reason": reason} for name, reason in self.errors]
        return {**members, **self.extra}


def problem_of(error: HeadraceError) -> Problem:
    """The problem that an error of ours is on the wire; what it must not tell stays out."""
    code = error.code if error.code in KINDS else "internal"
    if code == "internal":
        return Problem(code, KINDS[code].title)
    fields = error.fields if isinstance(error, InvalidArguments) else ()
    return Problem(code, str(error), fields)
