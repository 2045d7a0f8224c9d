"""Whether a queue lets one consumer at a time have it, by itself or on request.

A classic queue takes an exclusive consumer. A quorum queue ignores that it is asked for one, and must have been
declared with a single active consumer. AMQP does not tell how a queue was declared, but it tells the first argument in
which a declaration differs; so a queue that is there is declared again until nothing does.
"""

import re
from typing import Any, Final

from aiormq.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

from headrace.core.broker import Broker
from headrace.core.errors import BridgeRefused

TRIES: Final = 16
TYPE: Final = "x-queue-type"
SINGLE: Final = "x-single-active-consumer"
_DIFFERS: Final = re.compile(
    r"inequivalent arg '(x-[^']+)' .* current is (?:none|the value '([^']*)' of type '([^']*)')"
)


async def has_single_consumer(connection: AbstractConnection, broker: Broker, queue: str) -> bool:
    """Whether it has a single active consumer; if not, it takes an exclusive one.

    Raises:
        BridgeRefused: it does neither.
    """
    guess: dict[str, Any] = {TYPE: "quorum", SINGLE: True}
    for _ in range(TRIES):
        channel = await connection.channel(publisher_confirms=False)
        try:
            await channel.queue_declare(queue, durable=True, arguments=guess)
        except ChannelAccessRefused:
            return False
        except ChannelPreconditionFailed as error:
            found = _DIFFERS.search(str(error))
            if found is None:  # it is not durable, and so it is a classic one
                return False
            _learn(guess, *found.groups())
            continue
        await channel.close()
        break
    if guess.get(SINGLE):
        return True
    if guess.get(TYPE, "classic") != "classic":
        raise BridgeRefused(
            f"the queue {queue} of {broker.shown} gives to all of its consumers, so that nothing keeps an order:"
            f" declare it with {SINGLE}"
        )
    return False


def _learn(guess: dict[str, Any], name: str, value: str | None, kind: str | None) -> None:
    """Take over what the queue was declared with."""
    if value is None:
        guess.pop(name, None)
    elif kind == "bool":
        guess[name] = value == "true"
    else:
        guess[name] = value if kind == "longstr" else int(value)
