"""The notifier of a process: what goes with its store, or what HEADRACE_NOTIFIER asks for."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from headrace.core.broker import EXAMPLES, Broker, broker, scheme_of
from headrace.core.errors import InvalidConfig
from headrace.notifiers.local import LocalNotifier
from headrace.notifiers.none import NoNotifier
from headrace.ports.clock import Clock
from headrace.ports.notifier import Notifier

AUTO: Final = "auto"
VARIABLE: Final = "HEADRACE_NOTIFIER"
POLL_MAX_S: Final = 5.0  # a broker may lose one hint while every probe comes back
POSTGRES_POLL_MAX_S: Final = 30.0  # which loses none


class Bell:
    """Stands for the notifier until there is one: the store rings it, and its place is known from the store."""

    notifier: Notifier | None = None

    def ring(self, hints: Iterable[str]) -> None:
        """Publish."""
        if self.notifier is not None:
            self.notifier.publish(hints)

    def wants(self, prefix: str) -> bool:
        """Whether anybody may listen."""
        return self.notifier is not None and self.notifier.wants(prefix)


def notifier_for(
    asked: str, own: Callable[[], Notifier], epoch: Callable[[], str], clock: Clock, *, postgres: bool
) -> Notifier:
    """The notifier that is asked for; `own` makes that of the store, whose `epoch` is known when it is open.

    Raises:
        InvalidConfig: there is none such.
    """
    match asked:
        case "auto":
            return own()
        case "none":
            return NoNotifier()
        case "local":
            return LocalNotifier(None) if postgres else own()
        case "postgres" if postgres:
            return own()
        case "postgres":
            raise InvalidConfig(f"{VARIABLE}=postgres is for a store on PostgreSQL; use local, or a broker: {EXAMPLES}")
        case _:
            return _over(broker_of(asked), epoch, clock)


def broker_of(asked: str) -> Broker:
    """The broker that is asked for.

    Raises:
        InvalidConfig: it is none.
    """
    if scheme_of(asked):
        return broker(asked, VARIABLE)
    shown = asked if re.fullmatch(r"[\w-]{1,40}", asked) else "…"
    raise InvalidConfig(f"{VARIABLE}={shown} is no notifier: use auto, none, local, postgres, or a broker: {EXAMPLES}")


def poll_max_s(notifier: Notifier) -> float:
    """How rarely an idle worker may look for jobs while hints are known to arrive."""
    return POSTGRES_POLL_MAX_S if notifier.health.kind == "postgres" else POLL_MAX_S


def _over(found: Broker, epoch: Callable[[], str], clock: Clock) -> Notifier:
    from headrace.notifiers.brokers import PACKAGES, BrokerNotifier

    try:
        return BrokerNotifier(found, lambda: f"headrace.{epoch()}", now=clock.now)
    except ModuleNotFoundError as error:
        package = PACKAGES[found.kind]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise InvalidConfig(
            f"{VARIABLE} {found.shown} needs {package}: pip install 'headrace[{found.kind}]'"
        ) from error
