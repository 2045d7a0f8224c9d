"""The promises, one file each. A checker sees every event before it is booked, and says where one is broken."""

from headrace.testing.sim.checkers.alone import OneAttempt
from headrace.testing.sim.checkers.base import Checker
from headrace.testing.sim.checkers.ends import AcknowledgedEnds
from headrace.testing.sim.checkers.feeds import FeedsAreWhole
from headrace.testing.sim.checkers.live import BrowsersAreServed
from headrace.testing.sim.checkers.outcomes import OutcomeOnce
from headrace.testing.sim.checkers.reaps import OnlyTheDeadAreReaped
from headrace.testing.sim.checkers.slots import Slots

CHECKERS: tuple[type[Checker], ...] = (
    AcknowledgedEnds,
    OneAttempt,
    OutcomeOnce,
    OnlyTheDeadAreReaped,
    Slots,
    FeedsAreWhole,
    BrowsersAreServed,
)

__all__ = ["CHECKERS", "Checker"]
