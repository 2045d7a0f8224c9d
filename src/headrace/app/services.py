"""The adapters that one store URL names, opened lazily, once per process, from any event loop."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from headrace.app.metrics import Metrics
from headrace.app.portal import Portal
from headrace.app.tokens import Signer, load_signer
from headrace.core.errors import InvalidConfig, UsageError
from headrace.notifiers.local import LocalNotifier
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.ports.store import Store
from headrace.ports.vault import Vault
from headrace.runtime.reader import FeedReader
from headrace.settings import Settings
from headrace.stores.memory import MemoryStore
from headrace.stores.sqlite import SqliteStore

T = TypeVar("T")

FORKED: Final = "this Headrace was opened before the process was forked; open it in the child only"
MEMORY = "memory://"
SQLITE = "sqlite:///"


@runtime_checkable
class KeepingStore(Store, Vault, Protocol):
    """A store that keeps the HTTP side's secrets too; all of ours do."""


class Services:
    """Store, notifier and what hangs on them."""

    def __init__(self, settings: Settings, clock: Clock, *, moved: bool) -> None:
        """Nothing is opened; `moved` says that the clock is not the system's, so that the store needs it too.

        Raises:
            InvalidConfig: the URL names no store that there is.
        """
        self.settings = settings
        self.clock = clock
        self.store, self.notifier = _adapters(settings, clock, moved=moved)
        self.feed = FeedReader(self.store, self.notifier, clock)
        self.metrics = Metrics(self.store, clock)
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

    async def close(self) -> None:
        """Let go of everything; a later `open` begins anew. Idempotent."""
        if self.home is None or self._forked:  # its parent's is not a child's to close
            return
        self.home, self._pid, self.signer = None, 0, None
        await self.notifier.stop()
        await self.store.close()


def _adapters(settings: Settings, clock: Clock, *, moved: bool) -> tuple[KeepingStore, Notifier]:
    url = settings.store
    if url == MEMORY:
        bell = LocalNotifier(None)
        memory = MemoryStore(settings.store_settings(), wall=clock.wall, notify=bell.publish, wants=bell.wants)
        return memory, bell
    if not url.startswith("sqlite:"):
        raise InvalidConfig(f"the store {_shown(url)!r} is none that there is: use sqlite:///path or memory://")
    path = url.removeprefix(SQLITE)
    if not url.startswith(SQLITE) or not path:
        raise InvalidConfig(f"{url!r} names no file: sqlite:///relative/path or sqlite:////absolute/path, or memory://")
    if path == ":memory:":
        raise InvalidConfig("a SQLite database in memory cannot be shared by a process's threads: use memory://")
    if "?" in path:
        raise InvalidConfig(
            f"{url!r}: options of the store are settings, as HEADRACE_SQLITE_SYNCHRONOUS; drop the `?…`"
        )
    bells: list[LocalNotifier] = []  # it stands in the store's directory, and the store rings it

    def ring(hints: Iterable[str]) -> None:
        bells[0].publish(hints)

    def wants(prefix: str) -> bool:
        return bells[0].wants(prefix)

    store = SqliteStore(
        Path(path),
        settings.store_settings(),
        wall=clock.wall if moved else None,
        notify=ring,
        wants=wants,
        synchronous=settings.sqlite_synchronous.value,
        busy_timeout_s=settings.busy_timeout_s,
    )
    bells.append(LocalNotifier(store.directory / "hints"))
    return store, bells[0]


def _shown(url: str) -> str:
    """The URL without what may be a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}…@{rest.rpartition('@')[2]}" if "@" in rest else url
