"""Why a broker is of no use to a source or a sink, once for all of them."""

from headrace.core import broker_faults
from headrace.core.broker import Broker
from headrace.core.errors import BridgeRefused, BridgeUnavailable


def unreached(broker: Broker, error: BaseException) -> BridgeUnavailable:
    """Nobody answers there."""
    return BridgeUnavailable(broker_faults.unreached(broker, error))


def lost(broker: Broker, error: BaseException | None = None) -> BridgeUnavailable:
    """The connection has ended; another may do."""
    return BridgeUnavailable(broker_faults.lost(broker, error))


def refused(broker: Broker) -> BridgeRefused:
    """It answers, and does not let us in."""
    return BridgeRefused(broker_faults.refused(broker, "its URL"))
