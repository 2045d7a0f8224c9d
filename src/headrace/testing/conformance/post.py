"""The whole suite of a store's post."""

from headrace.testing.conformance.post_chores import PostChoresSuite
from headrace.testing.conformance.post_outbox import OutboxSuite
from headrace.testing.conformance.post_receive import ReceiveSuite


class PostConformance(ReceiveSuite, OutboxSuite, PostChoresSuite):
    """Every sentence of `ports.post`, as tests."""
