"""The notifier that rings nowhere: with it, everything happens by polling."""

from collections.abc import Callable, Iterable

from headrace.ports.notifier import Health, Hint, Listener


class NoNotifier:
    """A bell without a clapper; what tests use to show that nothing depends on hints."""

    __slots__ = ()
    working = False
    health = Health("none", working=None)

    async def start(self) -> None:
        """Nothing is heard."""

    async def stop(self) -> None:
        """Nothing is held."""

    def publish(self, hints: Iterable[Hint]) -> None:
        """Drop the hints."""

    def wants(self, prefix: str) -> bool:
        """Nobody can listen."""
        del prefix
        return False

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """The listener is never called."""
        del prefixes, listener
        return _nothing


def _nothing() -> None:
    """End a subscription that there never was."""
