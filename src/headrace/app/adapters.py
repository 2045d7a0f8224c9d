"""The adapters that one store URL names: the store, and the notifier that goes with it."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from headrace.app.notifying import Bell, notifier_for
from headrace.core.errors import InvalidConfig
from headrace.notifiers.local import LocalNotifier
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier
from headrace.ports.store import Store
from headrace.ports.vault import Vault
from headrace.settings import Settings
from headrace.stores.urls import EXAMPLE, MEMORY, SQLITE, database, shown_url


@runtime_checkable
class KeepingStore(Store, Vault, Protocol):
    """A store that keeps the HTTP side's secrets too; all of ours do."""


def adapters(
    settings: Settings, clock: Clock, *, moved: bool, notifier: Notifier | None = None
) -> tuple[KeepingStore, Notifier]:
    """Store and notifier, not open yet; `moved` says that the clock is not the system's, so that the store needs it.

    `notifier` takes the place of the one that the settings name.

    Raises:
        InvalidConfig: a URL names no store or no notifier that there is.
    """
    url = settings.store
    if url == MEMORY:
        return _memory(settings, clock, notifier)
    if url.startswith(("postgresql:", "postgresql+", "postgres:", "postgres+")):
        return _postgres(settings, clock, notifier, moved=moved)
    if url.startswith("sqlite:"):
        return _sqlite(settings, clock, notifier, moved=moved)
    raise InvalidConfig(
        f"the store {shown_url(url)!r} is none that there is: use sqlite:///path, {EXAMPLE} or memory://"
    )


def _memory(settings: Settings, clock: Clock, given: Notifier | None) -> tuple[KeepingStore, Notifier]:
    from headrace.stores.memory import MemoryStore

    bell = Bell()
    store = MemoryStore(settings.store_settings(), wall=clock.wall, notify=bell.ring, wants=bell.wants)
    bell.notifier = notifier = given or notifier_for(
        settings.notifier, lambda: LocalNotifier(None), lambda: store.epoch, clock, postgres=False
    )
    return store, notifier


def _sqlite(settings: Settings, clock: Clock, given: Notifier | None, *, moved: bool) -> tuple[KeepingStore, Notifier]:
    url = settings.store
    path = url.removeprefix(SQLITE)
    if not url.startswith(SQLITE) or not path:
        raise InvalidConfig(f"{url!r} names no file: sqlite:///relative/path or sqlite:////absolute/path, or memory://")
    if path == ":memory:":
        raise InvalidConfig("a SQLite database in memory cannot be shared by a process's threads: use memory://")
    if "?" in path:
        raise InvalidConfig(
            f"{url!r}: options of the store are settings, as HEADRACE_SQLITE_SYNCHRONOUS; drop the `?…`"
        )
    from headrace.stores.sqlite import SqliteStore

    bell = Bell()
    store = SqliteStore(
        Path(path),
        settings.store_settings(),
        wall=clock.wall if moved else None,
        notify=bell.ring,
        wants=bell.wants,
        synchronous=settings.sqlite_synchronous.value,
        busy_timeout_s=settings.busy_timeout_s,
    )
    bell.notifier = notifier = given or notifier_for(
        settings.notifier,
        lambda: LocalNotifier(store.directory / "hints"),
        lambda: store.epoch,
        clock,
        postgres=False,
    )
    return store, notifier


def _postgres(
    settings: Settings, clock: Clock, given: Notifier | None, *, moved: bool
) -> tuple[KeepingStore, Notifier]:
    url = settings.store
    database(url)
    if settings.listen_url is not None:
        database(settings.listen_url, "HEADRACE_LISTEN_URL")
    try:
        from headrace.notifiers.postgres import PostgresNotifier
        from headrace.stores.postgres import PostgresStore
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise InvalidConfig(f"the store {shown_url(url)!r} needs asyncpg: pip install 'headrace[postgres]'") from error
    bell = Bell()
    notifier = given or notifier_for(
        settings.notifier,
        lambda: PostgresNotifier(settings.listen_url or url, now=clock.now),
        lambda: store.epoch,
        clock,
        postgres=True,
    )
    bell.notifier = notifier
    store = PostgresStore(
        url,
        settings.store_settings(),
        wall=clock.wall if moved else None,
        notify=bell.ring,
        wants=bell.wants,
        speak=notifier.spoken if isinstance(notifier, PostgresNotifier) else None,
        ride=notifier.riding if isinstance(notifier, PostgresNotifier) else None,
        connections=settings.postgres_connections,
    )
    return store, notifier
