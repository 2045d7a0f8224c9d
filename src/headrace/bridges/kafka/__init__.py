"""Topics of Kafka as sources, and Kafka as a sink."""

from headrace.bridges.kafka.sink import KafkaSink
from headrace.bridges.kafka.source import KafkaSource

__all__ = ["KafkaSink", "KafkaSource"]
