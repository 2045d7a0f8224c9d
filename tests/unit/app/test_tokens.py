import uuid
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.app.tokens import JOBS_MAX, BadToken, Claims, ExpiredToken, Signer, load_signer
from headrace.core.errors import InvalidConfig, UsageError
from headrace.settings import Settings
from headrace.stores.memory import MemoryStore

OLD, NEW, ALIEN = b"o" * 32, b"n" * 32, b"x" * 32
JOBS = [uuid.uuid4().bytes for _ in range(JOBS_MAX + 1)]
NOW = 1_800_000_000.0


def signer(*secrets: bytes, now: float = NOW) -> Signer:
    return Signer(secrets or (NEW,), lambda: now, 900.0)


def forged(claims: dict[str, Any], secret: bytes = NEW, algorithm: str = "HS256") -> str:
    return jwt.encode({"exp": int(NOW) + 60, "sub": "job", "scope": ["read"], **claims}, secret, algorithm)


def test_a_job_token_reads_its_jobs_until_it_expires() -> None:
    token = signer().for_jobs(JOBS[:2])
    assert signer().verify(token) == Claims("job", frozenset({"read"}), frozenset(JOBS[:2]), NOW + 900)
    assert signer(now=NOW + 899.9).verify(token).jobs == set(JOBS[:2])
    with pytest.raises(ExpiredToken):
        signer(now=NOW + 900).verify(token)


def test_operating_and_a_life_of_its_own_are_asked_for() -> None:
    claims = signer().verify(signer().for_jobs(JOBS[:1], operate=True, ttl_s=5))
    assert claims.scopes == {"read", "operate"}
    assert claims.expires_at == NOW + 5


def test_a_session_token() -> None:
    claims = signer().verify(signer().for_session({"read", "enqueue"}, "key:ab12", 60))
    assert claims == Claims("session", frozenset({"read", "enqueue"}), frozenset(), NOW + 60, "key:ab12")


@pytest.mark.parametrize("count", [0, JOBS_MAX + 1])
def test_a_token_is_for_a_few_jobs(count: int) -> None:
    with pytest.raises(UsageError, match=f"1 to {JOBS_MAX} jobs, not {count}"):
        signer().for_jobs(JOBS[:count])


def test_rotation() -> None:
    before, during, after = signer(OLD), signer(NEW, OLD), signer(NEW)
    assert during.verify(before.for_jobs(JOBS[:1]))
    assert after.verify(during.for_jobs(JOBS[:1]))
    with pytest.raises(BadToken):
        after.verify(before.for_jobs(JOBS[:1]))
    with pytest.raises(ExpiredToken):
        signer(NEW, OLD, now=NOW + 900).verify(before.for_jobs(JOBS[:1]))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "hr_ab12_secret",
        "a.b.c",
        forged({"jobs": []}, ALIEN),
        forged({}, b"n" * 64, "HS512"),
        jwt.encode({"exp": int(NOW) + 60, "sub": "job", "scope": ["read"]}, None, "none"),
        forged({"sub": "admin"}),
        forged({"scope": ["everything"]}),
        forged({"scope": "read"}),
        forged({"jobs": ["not-a-uuid"]}),
        forged({"exp": None}),
        forged({"exp": "soon"}),
        jwt.encode({"sub": "job", "scope": ["read"]}, NEW, "HS256"),
    ],
)
def test_what_was_not_signed_here_grants_nothing(token: str) -> None:
    with pytest.raises(BadToken) as refused:
        signer().verify(token)
    assert refused.value.code == "unauthorized"


@given(at=st.integers(0, 10_000), flip=st.integers(1, 127))
def test_one_changed_character_is_noticed(at: int, flip: int) -> None:
    token = signer().for_jobs(JOBS[:1])
    at %= len(token) - 1  # the last character of base64 holds bits that do not count
    changed = token[:at] + chr(ord(token[at]) ^ flip) + token[at + 1 :]
    with pytest.raises(BadToken):
        signer().verify(changed)


async def made(store: MemoryStore, **settings: Any) -> Signer:
    await store.open()
    return await load_signer(store, Settings(store="memory://", **settings), lambda: NOW)


async def test_the_secret_is_made_once_per_store() -> None:
    store, other = MemoryStore(wall=lambda: NOW), MemoryStore(wall=lambda: NOW)
    token = (await made(store)).for_jobs(JOBS[:1])
    assert (await made(store)).verify(token)
    with pytest.raises(BadToken):
        (await made(other)).verify(token)


async def test_a_given_secret_overrides_and_two_may_be_accepted() -> None:
    store = MemoryStore(wall=lambda: NOW)
    old, new = OLD.decode(), NEW.decode()
    token = (await made(store, secret=old)).for_jobs(JOBS[:1])
    assert (await made(store, secret=f"{new}, {old}")).verify(token)
    assert (await made(store, secret=new, secret_previous=old)).verify(token)
    for settings in ({"secret": new}, {}):
        with pytest.raises(BadToken):
            (await made(store, **settings)).verify(token)
    with pytest.raises(InvalidConfig, match="at least 32"):
        await made(store, secret=f"{new},{old[:10]}")
