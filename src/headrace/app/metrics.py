"""What this process counts, and the text that Prometheus reads."""

import asyncio
import logging
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from headrace.core.errors import HeadraceError
from headrace.observers.tally import Tally
from headrace.ports.clock import Clock
from headrace.ports.observer import SILENT, Moment, Observer
from headrace.ports.post import Post
from headrace.ports.store import Store
from headrace.runtime.guard import UpstreamGuard

if TYPE_CHECKING:
    from headrace.observers.prometheus import Look

logger = logging.getLogger(__name__)

REMEDY: Final = 'metrics need a package that is not here: pip install "headrace[metrics]"'
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LOOK_S: Final = 5.0  # after this, the store counts as not answering
FRESH_S: Final = 1.0  # for so long, one look serves whoever asks
FRESH_S_MAX: Final = 60.0
SHARE: Final = 20  # looks cost at most a twentieth of the time, however many ask


def installed() -> bool:
    """Whether the extra `metrics` is there."""
    try:
        return find_spec("prometheus_client") is not None
    except ValueError:  # a module that was put in its place has no spec
        return False


class Metrics:
    """Counts from `begin` on; before that, nothing is counted and nothing costs anything."""

    def __init__(self, store: Store, clock: Clock, guards: Mapping[str, UpstreamGuard]) -> None:
        """Nothing is counted yet, but the calls of `guards`, which count for themselves."""
        self.observer: Observer = SILENT
        self._tally: Tally | None = None
        self._store = store
        self._clock = clock
        self._guards = guards
        self._look: Look | None = None
        self._look_until = float("-inf")
        self._looking = asyncio.Lock()

    def begin(self) -> Tally:
        """Count from here on. Idempotent."""
        if self._tally is None:
            self.observer = self._tally = Tally(self._clock.now)
        return self._tally

    def take(self) -> Mapping[str, object] | None:
        """What was counted since the last call, for a supervisor; None: nothing."""
        return self._gathered().take()

    async def text(self, moment: Moment) -> bytes:
        """All of it, as Prometheus reads it; the extra is installed."""
        from headrace.observers import prometheus

        look = await self._seen()
        tally = self._gathered()
        # Beside the loop: many labels take it some tens of milliseconds.
        return await asyncio.to_thread(prometheus.text, version("headrace"), look, tally, moment)

    def _gathered(self) -> Tally:
        """The tally, with what the guards have counted since the last time."""
        tally = self.begin()
        for name, guard in self._guards.items():
            tally.called(name, guard.take_called())
        return tally

    async def _seen(self) -> "Look | None":
        """The store as it was a moment ago; None: it did not answer."""
        async with self._looking:
            began = self._clock.now()
            if began >= self._look_until:
                self._look = await self._ask()
                ended = self._clock.now()
                cost_s = ended - began if self._look is not None else 0.0
                self._look_until = ended + min(max(FRESH_S, SHARE * cost_s), FRESH_S_MAX)
            return self._look

    async def _ask(self) -> "Look | None":
        from headrace.app.upstream import records
        from headrace.observers.prometheus import Look, folded

        try:
            async with asyncio.timeout(LOOK_S):
                queues = await asyncio.to_thread(folded, await self._store.queues())
                store = self._store
                post = store if isinstance(store, Post) else None
                sinks, sources = (await post.sinks(), await post.sources()) if post is not None else ([], [])
                return Look(queues, await store.workers(), await records(store), sinks, sources)
        except (HeadraceError, TimeoutError) as error:
            logger.warning("the metrics have no figures of the store: %s", str(error) or "it does not answer")
            return None
