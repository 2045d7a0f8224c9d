"""What a call to an upstream carries from the attempt that makes it: time left, trace, fence, a stable key.

Invariant: repeated in another attempt, a call gets the key that it had, if the attempt makes the same
calls as before. One that has not landed leaves its turn to the next like it, so that a loop which
tries again in the same attempt repeats the key too.
"""

import threading
import uuid
from collections.abc import MutableMapping
from typing import Final, final

from headrace.core.errors import JobTimedOut
from headrace.ports.clock import Clock
from headrace.runtime.context import AttemptContext, current_attempt

FENCE_HEADER: Final = "Headrace-Fence"
KEY_HEADER: Final = "Idempotency-Key"
TRACE_HEADER: Final = "traceparent"
TIMEOUT_HEADER: Final = "X-Envoy-Expected-Rq-Timeout-Ms"
"""How long we wait, in milliseconds: Envoy's word, which its proxies and those built on them honour."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
NOT_LANDED: Final = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Answers after which the same call may be made again: too early, too many, in flight, or their fault."""

_turns = threading.Lock()


@final
class Turn:
    """The place of a call among those of its attempt that are just like it."""

    def __init__(self, context: AttemptContext, like: str) -> None:
        """`like` is equal for calls that nobody can tell apart. Takes the lowest free turn."""
        self._context = context
        self._like = like
        with _turns:
            taken = context.call_turns.setdefault(like, set())
            self._number = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(self._number)

    @property
    def key(self) -> str:
        """The same one whenever this job makes this call."""
        return str(uuid.uuid5(self._context.id, f"{self._like}\n{self._number}"))

    def leave(self) -> None:
        """It has not landed: the next call like it is this one again."""
        with _turns:
            self._context.call_turns[self._like].discard(self._number)


@final
class Origin:
    """The attempt that calls, if there is one."""

    def __init__(self, clock: Clock) -> None:
        """Whatever attempt runs here and now."""
        self._clock = clock
        self._context: AttemptContext | None = current_attempt.get()
        self._turn: Turn | None = None

    @property
    def stopping(self) -> bool:
        """Whether the attempt was asked to stop."""
        return self._context is not None and self._context.cancelled

    def left_s(self) -> float | None:
        """What is left of the job's deadline; None: it has none."""
        if self._context is None or self._context.deadline_at is None:
            return None
        return self._context.deadline_at - self._clock.wall()

    def check(self) -> None:
        """Refuse to begin what cannot end in time.

        Raises:
            JobTimedOut: the job's deadline has passed.
        """
        left_s = self.left_s()
        if left_s is not None and left_s <= 0:
            raise JobTimedOut("the job's deadline has passed; the upstream was not called")

    def sign(self, headers: MutableMapping[str, str], like: str | None) -> None:
        """Add what the caller has not set; `like` is what the key is made of, None: no key."""
        context = self._context
        if context is None:
            return
        headers.setdefault(FENCE_HEADER, str(context.fence))
        if context.traceparent is not None:
            headers.setdefault(TRACE_HEADER, context.traceparent)
        if like is not None and KEY_HEADER not in headers:
            self._turn = Turn(context, like)
            headers[KEY_HEADER] = self._turn.key

    def sign_try(self, headers: MutableMapping[str, str], bound_s: float | None) -> None:
        """Add how long this try is waited for."""
        if self._context is not None and bound_s is not None:
            headers.setdefault(TIMEOUT_HEADER, str(max(int(bound_s * 1000), 1)))

    def landed(self, status: int | None) -> None:
        """How the call ended; None: without an answer."""
        turn, self._turn = self._turn, None
        if turn is not None and (status is None or status in NOT_LANDED):
            turn.leave()
