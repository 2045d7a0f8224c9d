"""Webhooks that are signed: secrets, signatures and their check, by Standard Webhooks 1.0.0.

Invariant: what is verified was signed with one of the secrets, byte for byte, within the tolerance; no error and no
text that is printed has a secret.

Source: spec/standard-webhooks.md in github.com/standard-webhooks/standard-webhooks, 1.0.0 (signatures `v1`; those of
`v1a`, which are asymmetric, are passed over).
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Final

from headrace.core.checks import plain_s
from headrace.core.errors import InvalidConfig, InvalidWebhook

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
PREFIX: Final = "whsec_"
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
TOLERANCE_S: Final = 300.0
SIGNATURES_MAX: Final = 32

_ID: Final = re.compile(r"[!-\-/-~]{1,256}")  # printable ASCII without the full stop, which parts what is signed
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_VERSION: Final = "v1,"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that sender and receiver share: 24 to 64 random bytes."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is too short to be one."""
        if not SECRET_BYTES_MIN <= len(self.key) <= SECRET_BYTES_MAX:
            raise InvalidConfig(
                f"a webhook secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, and this one {len(self.key)}:"
                f" write {PREFIX} and the Base64 of 32 random bytes"
            )

    @classmethod
    def parse(cls, text: str) -> "Secret":
        """Read `whsec_` and Base64, or the Base64 alone.

        Raises:
            InvalidConfig: it is none; the message does not show it.
        """
        try:
            key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except ValueError:
            raise InvalidConfig(f"a webhook secret is {PREFIX} and Base64, and this is none") from None
        return cls(key)

    def reveal(self) -> str:
        """The secret as it is handed to a receiver."""
        return PREFIX + base64.b64encode(self.key).decode("ascii")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that was verified: the event's id, the same when it comes again, and when this attempt was made."""

    id: str
    at: int


def signature(secret: Secret, event: str, at: int, body: bytes) -> str:
    """One signature of a delivery."""
    signed = hmac.new(secret.key, f"{event}.{at}.".encode("ascii") + body, sha256).digest()
    return _VERSION + base64.b64encode(signed).decode("ascii")


def signed_headers(secrets: Sequence[Secret], event: str, at: float, body: bytes) -> dict[str, str]:
    """The headers of one attempt; while secrets rotate, it is signed with each of them.

    Raises:
        InvalidConfig: there is no secret, or the event's id cannot be signed.
    """
    if not secrets:
        raise InvalidConfig("a webhook needs a secret to be signed with")
    if _ID.fullmatch(event) is None:
        raise InvalidConfig("a webhook's id must be 1 to 256 characters of printable ASCII without a full stop")
    seconds = int(at)
    signatures = " ".join(signature(secret, event, seconds, body) for secret in secrets)
    return {ID: event, TIMESTAMP: str(seconds), SIGNATURE: signatures}


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[Secret | str],
    now: float,
    tolerance: float | timedelta = TOLERANCE_S,
) -> Delivery:
    """Check that a delivery was signed with one of the secrets, not longer than `tolerance` ago; `now` is in seconds.

    Headers are found in any case. Remember the `id` of what was done: a delivery may come more than once.

    Raises:
        InvalidWebhook: it was not; answer 401.
        InvalidConfig: there is no secret, or one that is none.
    """
    known = [secret if isinstance(secret, Secret) else Secret.parse(secret) for secret in secrets]
    if not known:
        raise InvalidConfig("a webhook cannot be verified without a secret")
    event = _header(headers, ID)
    if _ID.fullmatch(event) is None:
        raise InvalidWebhook(f"the header {ID} is not 1 to 256 characters of printable ASCII without a full stop")
    seconds = _header(headers, TIMESTAMP)
    if _SECONDS.fullmatch(seconds) is None or str(int(seconds)) != seconds:
        raise InvalidWebhook(f"the header {TIMESTAMP} is no whole number of seconds since 1970")
    at = int(seconds)
    given = _header(headers, SIGNATURE).split(" ")
    if len(given) > SIGNATURES_MAX:
        raise InvalidWebhook(f"the header {SIGNATURE} has more than {SIGNATURES_MAX} signatures")
    _check_signatures(given, [signature(secret, event, at, body) for secret in known])
    if not abs(now - at) <= plain_s(tolerance):  # NaN is refused too
        side = "ago" if at < now else "ahead"
        raise InvalidWebhook(
            f"the delivery was signed {abs(now - at):.0f} seconds {side}, and {plain_s(tolerance):g} are allowed:"
            " see that the clocks of both sides are right"
        )
    return Delivery(event, at)


def _check_signatures(given: list[str], right: list[str]) -> None:
    wanted = [each.encode("ascii") for each in right]
    matches = False
    for text in given:
        told = text.encode("utf-8", "surrogatepass")
        for each in wanted:
            matches |= hmac.compare_digest(told, each)  # each is compared, so that time tells nothing
    if not matches and not any(text.startswith(_VERSION) for text in given):
        raise InvalidWebhook(f"the header {SIGNATURE} has no signature of version v1")
    if not matches:
        raise InvalidWebhook("no signature is right: compare the secret, and verify the body as it came, byte for byte")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        value = next((text for other, text in headers.items() if other.lower() == name), None)
    if value is None:
        raise InvalidWebhook(f"the header {name} is missing")
    return value
