"""What tests of applications use; adapters' tests inherit from `headrace.testing.conformance`."""

from headrace.bridges.memory import MemoryBroker
from headrace.testing.asserts import assert_enqueued, enqueued, refute_enqueued
from headrace.testing.clock import ManualClock
from headrace.testing.context import RecordedContext, RecordedSyncContext, Recorder, context, sync_context
from headrace.testing.deliver import deliver
from headrace.testing.drain import drain
from headrace.testing.inline import inline
from headrace.testing.memory import memory

__all__ = [
    "ManualClock",
    "MemoryBroker",
    "RecordedContext",
    "RecordedSyncContext",
    "Recorder",
    "assert_enqueued",
    "context",
    "deliver",
    "drain",
    "enqueued",
    "inline",
    "memory",
    "refute_enqueued",
    "sync_context",
]
