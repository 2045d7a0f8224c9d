"""The receiving side of webhooks, with this machine's clock."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from headrace.core import webhooks
from headrace.core.errors import UsageError
from headrace.core.webhooks import TOLERANCE_S, Delivery
from headrace.runtime.clock import SystemClock


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Sequence[str],
    *,
    tolerance: float | timedelta = TOLERANCE_S,
    now: float | None = None,
) -> Delivery:
    """Check that a delivery by Standard Webhooks was signed with `secret`, or one of several, within the tolerance.

    `body` are the bytes as they came, before anything has parsed them. Remember the `id` of what is returned: a
    delivery may come more than once. `now` is in seconds, by default this machine's.

    Raises:
        InvalidWebhook: do not believe it; answer 401.
        InvalidConfig: a secret that is none.
    """
    if not isinstance(body, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError("a webhook is verified by its body as it came, which is bytes: await request.body()")
    secrets = [secret] if isinstance(secret, str) else list(secret)
    return webhooks.verify_webhook(
        headers, bytes(body), secrets, SystemClock().wall() if now is None else now, tolerance
    )
