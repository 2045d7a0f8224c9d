"""The guard of an upstream: who may call it now, and what is told of how the call ended.

A guard is used from any task and any thread at once. It holds no lock while a call is under way.
"""

from typing import Protocol


class Permit(Protocol):
    """One call under way. Exactly one of the three ends it; later ones do nothing. From any thread."""

    def succeeded(self) -> None:
        """The upstream did what it is for."""
        ...

    def failed(self, error: BaseException | None = None, retry_after_s: float | None = None) -> None:
        """The upstream's failure: it counts, and `error` is remembered as caused by this upstream.

        `retry_after_s` is how long it asked to be left alone.
        """
        ...

    def ignored(self) -> None:
        """Cancelled, or an error that is not the upstream's: the permit goes back, and there is no outcome."""
        ...


class Guard(Protocol):
    """Stands before one upstream: its breaker, its limits and its retry budget."""

    @property
    def name(self) -> str:
        """The upstream's name."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """How long a call may take; None: the guard sets no bound."""
        ...

    async def acquire(self) -> Permit:
        """Leave to make one call; waits for a place at most a bounded time.

        Raises:
            BreakerOpen, Full, RateLimited: refused; `upstream` names it, `retry_in` says when to come back.
        """
        ...

    def acquire_sync(self) -> Permit:
        """As `acquire`, from a thread without an event loop."""
        ...

    def retry_allowed(self) -> bool:
        """Whether the retry budget gives one more try; takes it."""
        ...

    def blame(self, error: BaseException, retry_after_s: float | None = None) -> None:
        """An attempt that ends with `error` ended because of this upstream; counts nothing."""
        ...
