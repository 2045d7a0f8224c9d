"""Why a broker is of no use, in a sentence for its operator; never with a password."""

from headrace.core.broker import Broker


def unreached(broker: Broker, error: BaseException) -> str:
    """Nobody answers there."""
    return f"{broker.shown} is not reached ({words_of(error)})"


def lost(broker: Broker, error: BaseException | None = None) -> str:
    """The connection has ended."""
    return f"the connection to {broker.shown} is lost" + ("" if error is None else f" ({words_of(error)})")


def refused(broker: Broker, given_by: str) -> str:
    """It answers, and does not let us in."""
    return f"{broker.shown} refuses the user or the password that {given_by} gives, or lets that user do too little"


def words_of(error: BaseException) -> str:
    """What the system says of an error, if it does, and else what kind it is."""
    seen = _first(error)
    words = seen.strerror or str(seen) if isinstance(seen, OSError) else ""
    return words or type(seen).__name__


def _first(error: BaseException) -> BaseException:
    """The system's error behind a driver's, if there is one."""
    seen: BaseException | None = error
    for _ in range(5):
        if seen is None or isinstance(seen, OSError):
            break
        seen = seen.__cause__ or seen.__context__
    return seen or error
