"""The public conformance suites: whoever writes an adapter inherits them.

    from headrace.testing.conformance import ManualTime, StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def time(self): return ManualTime()

        @pytest.fixture
        def make_store(self, time, tmp_path):
            return lambda settings: MyStore(tmp_path / "jobs", settings, wall=time.wall)

Every call of `make_store` opens the same place, so that durability and sharing can be tested. A
second class with `time` giving `StoreTime()` runs the same suite on the store's own clock.
`VaultConformance` and `PostConformance` take the same fixtures. `StoreModelConformance` and
`PostModelConformance` compare random walks with the memory store; their `make_fresh_store` opens a
new place at every call, on a manual clock.
`NotifierConformance` is for notifiers, and what is built on it for those that ring in other processes
(`SharedNotifierConformance`) and for those behind a server (`ServedNotifierConformance`). The system suites
(`NotifierSystemConformance`, `ServedNotifierSystemConformance`) run an app and a worker with the worst of them.
`BridgeSourceConformance` (or `BookmarkedSourceConformance`) and `BridgeSinkConformance` are for bridges; those behind a
server inherit `ServedSourceConformance` and `ServedSinkConformance` too, and ordered ones `OrderedSourceConformance`.
"""

import pytest

for _part in (
    "base",
    "enqueue",
    "claim",
    "settle",
    "feed",
    "read",
    "change",
    "workers",
    "chores",
    "threads",
    "upstreams",
    "model",
):
    pytest.register_assert_rewrite(f"headrace.testing.conformance.store_{_part}")
for _part in ("receive", "outbox", "chores", "model"):
    pytest.register_assert_rewrite(f"headrace.testing.conformance.post_{_part}")
for _part in (
    "bridge_base",
    "bridge_sink",
    "bridge_source",
    "notifier",
    "notifier_system",
    "store_limits",
    "store_order",
    "vault",
):
    pytest.register_assert_rewrite(f"headrace.testing.conformance.{_part}")

from headrace.testing.conformance.bridge_base import Found, MakeSink, MakeSource, Put, Read  # noqa: E402 - after that
from headrace.testing.conformance.bridge_sink import BridgeSinkConformance, ServedSinkConformance  # noqa: E402
from headrace.testing.conformance.bridge_source import (  # noqa: E402
    BookmarkedSourceConformance,
    BridgeSourceConformance,
    OrderedSourceConformance,
    ServedSourceConformance,
)
from headrace.testing.conformance.notifier import (  # noqa: E402
    MakeNotifier,
    NotifierConformance,
    Outage,
    ServedNotifierConformance,
    SharedNotifierConformance,
)
from headrace.testing.conformance.notifier_system import (  # noqa: E402
    NotifierSystemConformance,
    ServedNotifierSystemConformance,
)
from headrace.testing.conformance.post import PostConformance  # noqa: E402
from headrace.testing.conformance.post_model import PostModelConformance  # noqa: E402
from headrace.testing.conformance.store import StoreConformance  # noqa: E402
from headrace.testing.conformance.store_base import FullStore, MakeStore, ManualTime, StoreTime, TimeControl  # noqa: E402
from headrace.testing.conformance.store_model import StoreModelConformance  # noqa: E402
from headrace.testing.conformance.vault import VaultConformance  # noqa: E402

__all__ = [
    "BookmarkedSourceConformance",
    "BridgeSinkConformance",
    "BridgeSourceConformance",
    "Found",
    "FullStore",
    "MakeNotifier",
    "MakeSink",
    "MakeSource",
    "MakeStore",
    "ManualTime",
    "NotifierConformance",
    "NotifierSystemConformance",
    "OrderedSourceConformance",
    "Outage",
    "PostConformance",
    "PostModelConformance",
    "Put",
    "Read",
    "ServedNotifierConformance",
    "ServedNotifierSystemConformance",
    "ServedSinkConformance",
    "ServedSourceConformance",
    "SharedNotifierConformance",
    "StoreConformance",
    "StoreModelConformance",
    "StoreTime",
    "TimeControl",
    "VaultConformance",
]
