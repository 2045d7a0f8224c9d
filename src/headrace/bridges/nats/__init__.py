"""Subjects of NATS JetStream as sources, and JetStream as a sink."""

from headrace.bridges.nats.sink import NatsSink
from headrace.bridges.nats.source import NatsSource

__all__ = ["NatsSink", "NatsSource"]
