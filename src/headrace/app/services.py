"""The adapters that one store URL names, opened lazily, once per process, from any event loop."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.app.adapters import adapters
from headrace.app.metrics import Metrics
from headrace.app.portal import Portal
from headrace.app.spooling import Spooling
from headrace.app.tokens import Signer, load_signer
from headrace.core.errors import UsageError
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.ports.vault import Vault
from headrace.runtime.reader import FeedReader
from headrace.runtime.upstreams import Upstreams
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.core.intake_events import IntakeHealth
    from headrace.runtime.promises import Promises
    from headrace.runtime.relays import Relays
    from headrace.runtime.sources import Sources

T = TypeVar("T")

FORKED: Final = "this Headrace was opened before the process was forked; open it in the child only"


class Services:
    """Store, notifier and what hangs on them."""

    def __init__(self, settings: Settings, clock: Clock, *, moved: bool, notifier: Notifier | None = None) -> None:
        """Nothing is opened; `moved` says that the clock is not the system's, so that the store needs it too.

        `notifier` takes the place of the one that the settings name.

        Raises:
            InvalidConfig: a URL names no store or no notifier that there is.
        """
        self.settings = settings
        self.clock = clock
        self.store, self.notifier = adapters(settings, clock, moved=moved, notifier=notifier)
        self.spooling = Spooling(self)
        self.feed = FeedReader(self.store, self.notifier, clock, spooled=self.spooling.holds)
        self.upstreams = Upstreams(self.store, self.notifier, clock, open_=self.open, wait=self.wait)
        self.metrics = Metrics(self.store, clock, self.upstreams.guards)
        self.relays: Relays | None = None  # made where workers run
        self.promises: Promises | None = None  # likewise
        self.portal = Portal()
        self.signer: Signer | None = None
        self.home: asyncio.AbstractEventLoop | None = None  # the loop on which the notifier hears
        self._lock = threading.Lock()
        self._opening: Future[None] | None = None
        self._pid = 0

    @property
    def vault(self) -> Vault:
        """Secrets, API keys, idempotency records."""
        return self.store

    @cached_property
    def sources(self) -> "Sources":
        """What takes messages in, where workers run."""
        from headrace.runtime.sources import Sources

        return Sources(self.store, lambda: self.upstreams.process)

    @property
    def taking(self) -> Mapping[str, "IntakeHealth"]:
        """How the sources of this process are; none where nothing is taken in."""
        return self.sources.health if "sources" in vars(self) else {}

    async def open(self) -> None:
        """Open the store and hear on this loop, if no other loop that still runs does. Idempotent."""
        loop = asyncio.get_running_loop()
        if self.home is loop:
            return
        if self._forked:
            raise UsageError(FORKED)
        mine: Future[None] = Future()
        while (opening := self._begin(mine)) is not mine:
            if opening is None:
                return
            await asyncio.shield(asyncio.wrap_future(opening))
        try:
            await self._open(loop)
        finally:
            with self._lock:
                self._opening = None
            mine.set_result(None)

    def wait(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        """Block this thread until `work` is done on the loop that this lives on.

        Raises:
            UsageError: this thread runs an event loop (`instead` is what to write), or this is a forked child.
        """
        if self._forked:
            work.close()
            raise UsageError(FORKED)
        return self.portal.call(work, self.home, instead)

    @property
    def _forked(self) -> bool:
        """Whether what was opened belongs to the process that this one was forked from: its threads are not here."""
        return self._pid not in {0, os.getpid()}

    def _begin(self, mine: Future[None]) -> Future[None] | None:
        """`mine`: the caller opens; another one: wait for it; None: it is open."""
        with self._lock:
            if self.home is not None and self.home.is_running():
                return None
            if self._opening is None:
                self._opening = mine
            return self._opening

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        await self.store.open()
        await self.notifier.start()
        if self.signer is None:
            self.signer = await load_signer(self.vault, self.settings, self.clock.wall)
        self._pid, self.home = os.getpid(), loop
        self.upstreams.start()

    async def sign_alone(self) -> None:
        """Sign with the secret of the settings, if there is one, though the store is out of reach."""
        if self.signer is None and self.settings.secret is not None:
            self.signer = await load_signer(self.vault, self.settings, self.clock.wall)

    async def close(self) -> None:
        """Let go of everything; a later `open` begins anew. Idempotent."""
        if self._forked:  # its parent's is not a child's to close
            return
        await self.spooling.close()
        if self.home is None:
            return
        self.home, self._pid, self.signer = None, 0, None
        await self.upstreams.stop()
        await self.notifier.stop()
        await self.store.close()
