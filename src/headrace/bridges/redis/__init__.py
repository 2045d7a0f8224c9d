"""Streams of Redis."""

from headrace.bridges.redis.sink import RedisSink
from headrace.bridges.redis.source import RedisSource

__all__ = ["RedisSink", "RedisSource"]
