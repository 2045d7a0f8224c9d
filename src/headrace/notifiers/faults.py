"""Why a broker is of no use as a bell."""

from headrace.core import broker_faults
from headrace.core.broker import Broker
from headrace.core.errors import NotifierError


def unreached(broker: Broker, error: BaseException) -> NotifierError:
    """Nobody answers there."""
    return NotifierError(broker_faults.unreached(broker, error))


def refused(broker: Broker) -> NotifierError:
    """It answers, and does not let us in."""
    return NotifierError(broker_faults.refused(broker, "HEADRACE_NOTIFIER"))
