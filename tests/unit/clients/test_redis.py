"""What a client of Redis is given."""

from typing import Any

import pytest

from headrace.clients import redis
from headrace.core.broker import broker


@pytest.mark.parametrize(("url", "checked"), [("rediss://ada:s3cret@host", True), ("redis://host", None)])
async def test_the_name_in_a_certificate_is_checked_whichever_version_is_installed(
    url: str, checked: bool | None
) -> None:
    client: Any = redis.client(broker(url, "HEADRACE_NOTIFIER"), "test", 1.0)
    assert client.connection_pool.connection_kwargs.get("ssl_check_hostname") is checked
    await client.aclose()
