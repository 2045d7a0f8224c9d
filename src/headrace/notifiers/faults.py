"""Why a broker is of no use, in a sentence for its operator; never with a password."""

from headrace.core.broker import Broker
from headrace.core.errors import NotifierError


def unreached(broker: Broker, error: BaseException) -> NotifierError:
    """Nobody answers there."""
    seen = _first(error)
    words = seen.strerror or str(seen) if isinstance(seen, OSError) else ""
    return NotifierError(f"{broker.shown} is not reached ({words or type(seen).__name__})")


def refused(broker: Broker) -> NotifierError:
    """It answers, and does not let us in."""
    return NotifierError(
        f"{broker.shown} refuses the user or the password that HEADRACE_NOTIFIER gives, or lets that user do too little"
    )


def _first(error: BaseException) -> BaseException:
    """The system's error behind a driver's, if there is one."""
    seen: BaseException | None = error
    for _ in range(5):
        if seen is None or isinstance(seen, OSError):
            break
        seen = seen.__cause__ or seen.__context__
    return seen or error
