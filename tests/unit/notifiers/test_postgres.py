"""What the PostgreSQL notifier knows without a server; with one: tests/integration/notifiers."""

import pytest

from headrace.notifiers.postgres_line import channel_of

IDENTIFIER_BYTES_MAX = 63


@pytest.mark.parametrize("schema", ["headrace", "a" * 48, "a" * 49, "Mixed", 'quo"ted', "größe", "a b"])
def test_every_schema_has_a_channel_of_its_own_that_needs_no_quotes(schema: str) -> None:
    channel = channel_of(schema)
    assert channel.startswith("headrace_")
    assert channel.replace("_", "").isalnum()
    assert channel.isascii()
    assert channel.lower() == channel
    assert len(channel) <= IDENTIFIER_BYTES_MAX
    assert channel != channel_of(schema + "2")
