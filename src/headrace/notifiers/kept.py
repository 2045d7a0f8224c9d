"""What every notifier does alike that keeps a connection to a bell."""

import asyncio
import random
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, Final

from headrace.notifiers.keeper import Keeper, Line
from headrace.notifiers.listeners import KINDS, Listeners, concerns
from headrace.notifiers.outbox import Outbox
from headrace.notifiers.talk import Talk
from headrace.ports.notifier import Health, Hint, Listener


class KeptNotifier(ABC):
    """A bell behind a connection.

    Between `start` and `stop` it reconnects by itself, and rings every listener when it hears again, for it can't know
    what it missed; hints that could not be sent meanwhile follow then. Before `start` and after `stop` publishing
    reaches nobody, and others find by polling what it told of: a connection needs an event loop to live on, and who
    enqueues has started its notifier with its store.
    """

    probe_every_s: ClassVar[float] = 30.0
    plain: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors of a driver whose words never have a password."""

    def __init__(self, kind: str, *, rng: random.Random | None = None, now: Callable[[], float] | None = None) -> None:
        """Nothing is opened; `now` measures echoes."""
        self._kind: Final = kind
        self._name: Final = secrets.token_hex(8)
        self._rng: Final = rng or random.Random()  # noqa: S311 - jitter
        self._now: Final = now
        self._listeners: Final = Listeners()
        self._outbox: Final = Outbox()
        self._keeper: Keeper | None = None
        self._listens = True

    @property
    def working(self) -> bool:
        """Whether hints of other processes are known to be heard here, by the last probe."""
        return self._keeper is not None and self._keeper.working

    @property
    def health(self) -> Health:
        """What the last probe told."""
        keeper = self._keeper
        if keeper is None:
            return Health(self._kind, working=False, trouble="not started")
        return Health(self._kind, working=keeper.working, echo_s=keeper.echo_s, trouble=keeper.trouble)

    def only_say(self) -> None:
        """Hear nothing after the next `start`: a process that needs no hints is not woken by each."""
        self._listens = False

    async def start(self) -> None:
        """Begin to connect and to hear, on the running loop; does not wait for the server."""
        loop = asyncio.get_running_loop()
        if self._keeper is not None and self._keeper.loop is loop:
            return
        await self.stop()
        self._listeners.hear_on(loop)
        self._keeper = Keeper(
            self._open,
            partial(Talk, self._name, self._listeners.call, self._now),
            self._listeners,
            self._outbox,
            rng=self._rng,
            probe_every_s=self.probe_every_s,
            listens=self._listens,
            plain=self.plain,
        )

    async def stop(self) -> None:
        """Send what waits, if the server is there, and let go of the connection."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.stop()
        self._listeners.hear_on(None)
        self._outbox.clear()

    def publish(self, hints: Iterable[Hint]) -> None:
        """Ring in this process at once, and soon in every other."""
        wanted = frozenset(hints)
        self._listeners.ring(wanted)
        keeper = self._keeper
        if keeper is not None and self._outbox.add(wanted):
            try:
                keeper.loop.call_soon_threadsafe(keeper.send)
            except RuntimeError:  # that loop is closed, and the connection with it
                self._outbox.clear()

    def wants(self, prefix: str) -> bool:
        """True while it is started: who listens elsewhere cannot be known."""
        kinds = [kind for kind in KINDS if concerns(prefix, kind)]
        return self._keeper is not None or not self._listeners.kinds().isdisjoint(kinds)

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` on the loop of `start`; both this and its end are called on that loop."""
        subscription = self._listeners.add(prefixes, listener)
        return lambda: self._listeners.remove(subscription)

    @abstractmethod
    async def _open(self, talk: Talk) -> Line:
        """A new connection; what it hears goes to `talk`."""
