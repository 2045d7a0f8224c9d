"""Hints between processes by way of a broker."""

import random
from collections.abc import Callable
from importlib import import_module
from typing import ClassVar, Final, TypeAlias

from headrace.core.broker import Broker
from headrace.notifiers.keeper import Line, OpenLine
from headrace.notifiers.kept import KeptNotifier
from headrace.notifiers.talk import Talk

Opens: TypeAlias = Callable[[Broker, str], OpenLine]

PACKAGES: Final = {"redis": "redis", "nats": "nats", "rabbitmq": "aio_pika", "kafka": "aiokafka"}
"""What the client of each kind is imported as."""


class BrokerNotifier(KeptNotifier):
    """A bell for all processes that know one broker and one place on it."""

    probe_every_s: ClassVar[float] = 10.0

    def __init__(
        self,
        broker: Broker,
        place: Callable[[], str],
        *,
        rng: random.Random | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Nothing is opened; `place` is asked at each connect, and is of letters, digits and dots.

        Raises:
            ModuleNotFoundError: the client for such a broker is not installed.
        """
        super().__init__(broker.kind, rng=rng, now=now)
        self._broker: Final = broker
        self._place: Final = place
        self._opens: Final[Opens] = import_module(f"headrace.notifiers.{broker.kind}_line").opens

    def __repr__(self) -> str:
        return f"<BrokerNotifier {self._broker.shown}>"

    async def _open(self, talk: Talk) -> Line:
        return await self._opens(self._broker, self._place())(talk)
