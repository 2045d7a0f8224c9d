"""The notifier of one simulated process. Hints are dropped, repeated, delayed and so reordered."""

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from headrace.ports.notifier import Health, Hint, Listener

if TYPE_CHECKING:
    from headrace.testing.sim.node import Node


class Network:
    """How hints travel."""

    def __init__(self, rng: random.Random) -> None:
        """Quick and faithful, to begin with."""
        self.rng = rng
        self.dropped = 0.0  # probabilities
        self.repeated = 0.0
        self.delay_s = 0.001

    def copies(self) -> list[float]:
        """After how long each copy of one message arrives."""
        rng = self.rng
        if rng.random() < self.dropped:
            return []
        count = 1 + (rng.random() < self.repeated)
        return [rng.expovariate(1 / self.delay_s) for _ in range(count)]


class Bell:
    """A `ports.notifier.Notifier` of one process."""

    def __init__(self, node: "Node", network: Network, ring: Callable[[frozenset[Hint]], None]) -> None:
        """`ring` reaches every process."""
        self._node = node
        self._network = network
        self._ring = ring
        self.listeners: dict[int, tuple[tuple[str, ...], Listener]] = {}
        self._number = 0

    @property
    def working(self) -> bool:
        """Whether none is dropped; a machine that is cut off does not know that it hears nothing."""
        return self._network.dropped <= 0.0

    @property
    def health(self) -> Health:
        """Nothing more is known."""
        return Health("simulated", working=self.working)

    async def start(self) -> None:
        """It hears from the start."""

    async def stop(self) -> None:
        """It ends with its process."""

    def publish(self, hints: Iterable[Hint]) -> None:
        """Ring for these hints."""
        self._ring(frozenset(hints))

    def wants(self, prefix: str) -> bool:
        """Somebody may listen."""
        del prefix
        return True

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` with hints that start so."""
        self._number += 1
        number = self._number
        self.listeners[number] = (prefixes, listener)

        def forget() -> None:
            self.listeners.pop(number, None)

        return forget

    def hear(self, hints: frozenset[Hint]) -> None:
        """Hints were published somewhere; here they arrive when the network says."""
        if self._node.dead or self._node.machine.cut_off:
            return
        for number, (prefixes, _) in tuple(self.listeners.items()):
            heard = frozenset(hint for hint in hints if hint.startswith(prefixes))
            if heard:
                for delay_s in self._network.copies():
                    self._node.machine.timeline.after(delay_s, partial(self._tell, number, heard))

    def _tell(self, number: int, hints: frozenset[Hint]) -> None:
        listening = self.listeners.get(number)
        if listening is not None and not self._node.dead:
            self._node.loop.call_soon(listening[1], hints)
