"""Signed webhooks against the published vectors, and against deliveries that were tampered with."""

import base64
import hmac
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidConfig, InvalidWebhook
from headrace.core.webhooks import Delivery, Secret, signature, signed_headers, verify_webhook

# secret, id, timestamp, body, signature
PUBLISHED = [
    (  # libraries/python/tests/test_webhooks.py of standard-webhooks, and those of its other languages
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (  # made with standardwebhooks 1.1.0 from PyPI, the reference library
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "0618ce74cc6281748b0c71d58abc863d",
        1795771800,
        b'{"type":"order.paid","data":{"total":1.10}}',
        "v1,vIJWlaSRmbVvVqUp3P59jgsVASLfmenTWKuyQXTLNXo=",
    ),
    (  # the same, with the longest secret and a body beyond ASCII
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==",
        "0618ce74cc6281748b0c71d58abc863d",
        1795771800,
        '"日本 €"'.encode(),
        "v1,WDSurdIk9EukZkEqQN+KWP7F+PKB9IPHNnRAljLsSDc=",
    ),
]
SECRET = Secret(bytes(range(32)))
OTHER = Secret(bytes(range(1, 33)))
AT = 1_800_000_000
BODY = b'{"type":"order.paid"}'


def delivery(**changes: Any) -> dict[str, str]:
    headers = {**signed_headers([SECRET], "evt_1", AT, BODY), **changes}
    return {name: value for name, value in headers.items() if value is not None}


@pytest.mark.parametrize(("secret", "event", "at", "body", "signed"), PUBLISHED)
def test_the_published_vectors(secret: str, event: str, at: int, body: bytes, signed: str) -> None:
    known = Secret.parse(secret)
    assert signature(known, event, at, body) == signed
    headers = signed_headers([known], event, at + 0.9, body)
    assert headers == {"webhook-id": event, "webhook-timestamp": str(at), "webhook-signature": signed}
    assert verify_webhook(headers, body, [secret], at) == Delivery(event, at)
    assert verify_webhook(headers, body, [secret.removeprefix("whsec_")], at) == Delivery(event, at)


def test_one_right_signature_of_several_is_enough() -> None:
    right = signature(SECRET, "evt_1", AT, BODY)
    wrong = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
    asymmetric = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    for told in (f"{wrong} {right}", f"{right} {wrong}", f"{asymmetric}  {right}", f"v2,x {right} {wrong}"):
        verify_webhook(delivery(**{"webhook-signature": told}), BODY, [SECRET], AT)


def test_secrets_rotate_on_either_side() -> None:
    both = signed_headers([SECRET, OTHER], "evt_1", AT, BODY)
    assert len(both["webhook-signature"].split(" ")) == 2
    for known in ([SECRET], [OTHER], [OTHER, SECRET], ["whsec_" + "A" * 40, OTHER.reveal()]):
        assert verify_webhook(both, BODY, known, AT) == Delivery("evt_1", AT)
    assert verify_webhook(delivery(), BODY, [OTHER, SECRET], AT)


def test_headers_are_found_in_any_case() -> None:
    headers = {name.title(): value for name, value in delivery().items()}
    assert verify_webhook(headers, BODY, [SECRET], AT) == Delivery("evt_1", AT)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"webhook-id": None}, "the header webhook-id is missing"),
        ({"webhook-timestamp": None}, "the header webhook-timestamp is missing"),
        ({"webhook-signature": None}, "the header webhook-signature is missing"),
        ({"webhook-id": "evt_2"}, "no signature is right"),
        ({"webhook-id": ""}, "the header webhook-id is not"),
        ({"webhook-id": "a.b"}, "without a full stop"),
        ({"webhook-id": "é"}, "printable ASCII"),
        ({"webhook-id": "a\n"}, "printable ASCII"),
        ({"webhook-id": "a" * 257}, "1 to 256 characters"),
        ({"webhook-timestamp": str(AT + 1)}, "no signature is right"),
        ({"webhook-timestamp": "hello"}, "is no whole number of seconds since 1970"),
        ({"webhook-timestamp": f"{AT}.0"}, "is no whole number"),
        ({"webhook-timestamp": f"0{AT}"}, "is no whole number"),
        ({"webhook-timestamp": f"-{AT}"}, "is no whole number"),
        ({"webhook-timestamp": f"{AT}\n"}, "is no whole number"),
        ({"webhook-timestamp": "١٢٣"}, "is no whole number"),
        ({"webhook-timestamp": "9" * 5000}, "is no whole number"),
        ({"webhook-signature": ""}, "has no signature of version v1"),
        ({"webhook-signature": "v1a,x v2,y"}, "has no signature of version v1"),
        ({"webhook-signature": "v1,"}, "no signature is right"),
        ({"webhook-signature": "v1,é\ud800"}, "no signature is right"),
        ({"webhook-signature": " ".join(["v1,x"] * 33)}, "has more than 32 signatures"),
    ],
)
def test_a_delivery_that_is_not_to_be_believed(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidWebhook, match=told):
        verify_webhook(delivery(**changes), BODY, [SECRET], AT)


def test_another_body_or_secret_is_refused() -> None:
    with pytest.raises(InvalidWebhook, match="verify the body as it came, byte for byte"):
        verify_webhook(delivery(), BODY + b" ", [SECRET], AT)
    with pytest.raises(InvalidWebhook, match="compare the secret"):
        verify_webhook(delivery(), BODY, [OTHER], AT)


def test_an_old_or_early_delivery_is_refused() -> None:
    for now in (AT - 300, AT, AT + 300):
        verify_webhook(delivery(), BODY, [SECRET], now)
    with pytest.raises(InvalidWebhook, match="was signed 301 seconds ago, and 300 are allowed: see that the clocks"):
        verify_webhook(delivery(), BODY, [SECRET], AT + 301)
    with pytest.raises(InvalidWebhook, match="was signed 301 seconds ahead"):
        verify_webhook(delivery(), BODY, [SECRET], AT - 301)
    with pytest.raises(InvalidWebhook, match="2 seconds ago, and 1 are allowed"):
        verify_webhook(delivery(), BODY, [SECRET], AT + 2, timedelta(seconds=1))
    with pytest.raises(InvalidWebhook, match="signed"):
        verify_webhook(delivery(), BODY, [SECRET], float("nan"))


def test_secrets() -> None:
    assert Secret.parse(SECRET.reveal()) == SECRET
    assert SECRET.reveal() == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert str(SECRET) == repr(SECRET) == "Secret()"
    for size in (24, 64):
        assert Secret.parse("whsec_" + base64.b64encode(bytes(size)).decode()).key == bytes(size)
    for size in (0, 23, 65):
        with pytest.raises(
            InvalidConfig, match=f"a webhook secret has 24 to 64 bytes, and this one {size}: write whsec_"
        ):
            Secret(bytes(size))
    for wrong in ("whsec_s3cret!", "whsk_" + "A" * 32, "whsec_" + "é" * 32, "whsec_" + "A" * 33):
        with pytest.raises(InvalidConfig, match="a webhook secret is whsec_ and Base64, and this is none") as refused:
            Secret.parse(wrong)
        assert wrong not in str(refused.value)
        assert refused.value.__suppress_context__


def test_without_a_secret_nothing_is_signed_or_verified() -> None:
    with pytest.raises(InvalidConfig, match="needs a secret"):
        signed_headers([], "evt_1", AT, BODY)
    with pytest.raises(InvalidConfig, match="without a secret"):
        verify_webhook(delivery(), BODY, [], AT)
    with pytest.raises(InvalidConfig, match="without a full stop"):
        signed_headers([SECRET], "a.b", AT, BODY)


def test_every_comparison_takes_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each signature is compared with each secret's, by the function that is made for it."""
    compared = list[tuple[bytes, bytes]]()

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    right = signature(SECRET, "evt_1", AT, BODY)
    verify_webhook(delivery(**{"webhook-signature": f"{right} v1,x"}), BODY, [SECRET, OTHER], AT)
    assert len(compared) == 4


KEYS = st.binary(min_size=24, max_size=64).map(Secret)
IDS = st.from_regex(r"[a-zA-Z0-9_-]{1,30}", fullmatch=True)


@given(st.lists(KEYS, min_size=1, max_size=3), IDS, st.integers(0, 10**11), st.binary(max_size=50), st.data())
def test_what_is_signed_is_verified_and_one_other_byte_is_not(
    secrets: list[Secret], event: str, at: int, body: bytes, data: st.DataObject
) -> None:
    headers = signed_headers(secrets, event, at, body)
    one = data.draw(st.sampled_from(secrets))
    assert verify_webhook(headers, body, [one], at) == Delivery(event, at)
    assert verify_webhook(headers, body, [one.reveal()], at + 299.5) == Delivery(event, at)
    if body:
        place, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
        other = body[:place] + bytes([body[place] ^ (1 << bit)]) + body[place + 1 :]
        with pytest.raises(InvalidWebhook, match="no signature is right"):
            verify_webhook(headers, other, secrets, at)


@given(st.dictionaries(st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature"]), st.text()))
def test_any_headers_are_refused_in_words(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidWebhook):
        verify_webhook(headers, BODY, [SECRET], AT)
    with pytest.raises(InvalidWebhook):
        verify_webhook(delivery() | {name.lower(): value for name, value in headers.items()}, b"other", [SECRET], AT)
