"""Queues and exchanges of RabbitMQ."""

from headrace.bridges.rabbitmq.sink import RabbitmqSink
from headrace.bridges.rabbitmq.source import RabbitmqSource

__all__ = ["RabbitmqSink", "RabbitmqSource"]
