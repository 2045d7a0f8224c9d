"""The whole store suite."""

from headrace.testing.conformance.store_change import ChangeSuite
from headrace.testing.conformance.store_chores import ChoresSuite
from headrace.testing.conformance.store_claim import ClaimSuite
from headrace.testing.conformance.store_enqueue import EnqueueSuite
from headrace.testing.conformance.store_feed import FeedSuite
from headrace.testing.conformance.store_limits import LimitsSuite
from headrace.testing.conformance.store_order import OrderSuite
from headrace.testing.conformance.store_read import ReadSuite
from headrace.testing.conformance.store_settle import SettleSuite
from headrace.testing.conformance.store_threads import ThreadsSuite
from headrace.testing.conformance.store_upstreams import UpstreamsSuite
from headrace.testing.conformance.store_workers import WorkersSuite


class StoreConformance(
    EnqueueSuite,
    ClaimSuite,
    LimitsSuite,
    OrderSuite,
    SettleSuite,
    FeedSuite,
    ReadSuite,
    ChangeSuite,
    WorkersSuite,
    ChoresSuite,
    ThreadsSuite,
    UpstreamsSuite,
):
    """Every sentence of `ports.store`, as tests."""
