"""The promises, one file each. A checker sees every event before it is booked, and says where one is broken."""

from headrace.testing.sim.checkers.base import Checker
from headrace.testing.sim.checkers.ends import AcknowledgedEnds

CHECKERS: tuple[type[Checker], ...] = (AcknowledgedEnds,)

__all__ = ["CHECKERS", "Checker"]
