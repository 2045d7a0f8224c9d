"""A process loads what it needs: each command and each worker starts one, and waits for what is imported."""

import subprocess
import sys

LOADED = """
import sys
from headrace import Headrace
Headrace("sqlite:///jobs.db")
print(*sys.modules)
"""
UNNEEDED = (
    "aiokafka",
    "aio_pika",
    "asyncpg",
    "fastapi",
    "headrace.bridges.kafka",
    "headrace.core.intake",
    "headrace.core.relay",
    "headrace.core.worker",
    "headrace.runtime.sources",
    "headrace.runtime.worker",
    "headrace.stores.memory",
    "headrace.stores.postgres",
    "headrace.web",
    "nats",
    "prometheus_client",
    "redis",
    "sqlalchemy",
)


def test_an_app_that_enqueues_loads_neither_workers_nor_brokers_nor_other_stores() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "headrace.stores.sqlite" in loaded
    assert [name for name in UNNEEDED if name in loaded] == []
