"""A broker in this process, for tests and the simulator."""

from headrace.bridges.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
