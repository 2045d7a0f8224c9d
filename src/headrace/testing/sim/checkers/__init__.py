"""The promises, one file each. A checker sees every event before it is booked, and says where one is broken."""

from headrace.testing.sim.checkers.admission import LowestGoesFirst, QueuesAreBounded, WhoComesAgainGetsIn
from headrace.testing.sim.checkers.alone import OneAttempt
from headrace.testing.sim.checkers.attempts import AttemptsCount
from headrace.testing.sim.checkers.base import Checker
from headrace.testing.sim.checkers.bounds import CallsAreBounded, HalfOpenIsBounded, OutcomesAreTrue
from headrace.testing.sim.checkers.calls import CallsFitTheirProcess
from headrace.testing.sim.checkers.cancels import CancelledStays
from headrace.testing.sim.checkers.due import NothingIsEarly
from headrace.testing.sim.checkers.effects import EffectsOnce
from headrace.testing.sim.checkers.ends import AcknowledgedEnds
from headrace.testing.sim.checkers.feeds import FeedsAreWhole
from headrace.testing.sim.checkers.held import CallsLeaveNothing, HeldJobsWait, OutagesBurnNothing
from headrace.testing.sim.checkers.items import ItemsAreKept
from headrace.testing.sim.checkers.keys import OneHolderPerKey
from headrace.testing.sim.checkers.leaks import NothingLeaks
from headrace.testing.sim.checkers.leases import BeginsWithinLease, LeasesHold
from headrace.testing.sim.checkers.lent import TheDeadHoldNothing
from headrace.testing.sim.checkers.limits import LimitsHold
from headrace.testing.sim.checkers.live import BrowsersAreServed
from headrace.testing.sim.checkers.order import OrderIsKept
from headrace.testing.sim.checkers.outcomes import OutcomeOnce
from headrace.testing.sim.checkers.pressure import NewsComesLate, PressureIsLawful
from headrace.testing.sim.checkers.quarantine import OnlyPoisonIsQuarantined
from headrace.testing.sim.checkers.reaps import OnlyTheDeadAreReaped
from headrace.testing.sim.checkers.slots import Slots
from headrace.testing.sim.checkers.work import WorkIsKept

CHECKERS: tuple[type[Checker], ...] = (
    AcknowledgedEnds,
    OneAttempt,
    OutcomeOnce,
    CancelledStays,
    AttemptsCount,
    OnlyTheDeadAreReaped,
    OnlyPoisonIsQuarantined,
    LeasesHold,
    BeginsWithinLease,
    Slots,
    LimitsHold,
    OrderIsKept,
    NothingIsEarly,
    OneHolderPerKey,
    WorkIsKept,
    EffectsOnce,
    ItemsAreKept,
    FeedsAreWhole,
    BrowsersAreServed,
    NothingLeaks,
    HalfOpenIsBounded,
    CallsAreBounded,
    CallsFitTheirProcess,
    TheDeadHoldNothing,
    OutcomesAreTrue,
    HeldJobsWait,
    OutagesBurnNothing,
    CallsLeaveNothing,
    QueuesAreBounded,
    LowestGoesFirst,
    WhoComesAgainGetsIn,
    PressureIsLawful,
    NewsComesLate,
)

__all__ = ["CHECKERS", "Checker"]
