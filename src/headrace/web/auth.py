"""Who asks, and what they may do. Closed until opened: without a credential nothing answers.

Credentials are API keys (`Authorization: Bearer hr_…`, for machines), job tokens (the same header,
for browsers: a few jobs, 15 minutes) and the session cookie. None is ever taken from a URL.
"""

import hashlib
import hmac
import inspect
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from headrace.app import Headrace
from headrace.app.keys import PREFIX, digest_of
from headrace.app.tokens import SCOPES, BadToken, Claims, Signer
from headrace.core.errors import InvalidConfig, StoreUnavailable
from headrace.core.model import JobId
from headrace.core.session_events import Grant, Granted
from headrace.ports.vault import ApiKey
from headrace.web.problems import Refused

COOKIE: Final = "headrace_session"
KEYS_FRESH_S: Final = 2.0
KEYS_SPOOLING_S: Final = 3600.0  # with a spool, while the store is out of reach
TOKEN_CHARS_MAX: Final = 8 * 1024
FORWARDED: Final = frozenset({"forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip"})
SCOPE_KEY: Final = "headrace.credential"  # in an admitted request's ASGI scope
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request was allowed. `id` scopes its idempotency keys."""

    id: str
    scopes: frozenset[str]
    jobs: frozenset[JobId] | None = None  # None: every job
    expires_at: float | None = None  # on the wall clock

    def allows(self, scope: str, job: JobId | None = None) -> bool:
        """Whether it covers this, for one job or (None) for all of them."""
        return scope in self.scopes and (self.jobs is None or (job is not None and job in self.jobs))


class Guard:
    """Reads credentials; one per installed Headrace."""

    def __init__(self, hr: Headrace) -> None:
        """Nothing is read before the first request."""
        self._hr = hr
        self._keys: dict[str, ApiKey] = {}
        self._keys_at = float("-inf")

    @property
    def open(self) -> bool:
        """Whether this process asks nobody, and then only answers to its own machine."""
        return self._hr.settings.auth == "off"

    async def credential(self, connection: HTTPConnection) -> Credential:
        """The credential of a request or handshake.

        Raises:
            Refused: there is none, or it is not valid.
        """
        if {"token", "access_token", "api_key"} & set(connection.query_params):
            raise Refused("token-in-url", "URLs end up in logs; send it as `Authorization: Bearer …`")
        if self.open:
            return self._of_this_machine(connection)
        bearer = _bearer(connection.headers)
        if bearer is not None:
            return await self.bearer(bearer)
        cookie = connection.cookies.get(COOKIE)
        if cookie is None:
            raise Refused("unauthorized", "send an API key or a job token as `Authorization: Bearer …`")
        if connection.scope.get("method", "GET") not in SAFE_METHODS:
            self.check_origin(connection)
        return await self._of_session(self._verified(cookie))

    async def admit(self, request: HTTPConnection) -> None:
        """Let a request in that brings any valid credential; `allowed` then knows it.

        Raises:
            Refused: there is none.
        """
        await self._hr.reach()
        request.scope[SCOPE_KEY] = await self.credential(request)

    async def bearer(self, token: str) -> Credential:
        """What an API key or a job token allows."""
        if token.startswith(PREFIX):
            return await self._of_key(token)
        claims = self._verified(token)
        if claims.subject != "job":
            raise Refused("unauthorized", "this is no job token")
        names = hashlib.sha256(b"".join(sorted(claims.jobs))).hexdigest()[:16]
        return Credential(f"job:{names}", claims.scopes, claims.jobs, claims.expires_at)

    async def allowed(self, connection: HTTPConnection, scope: str, job: JobId | None = None) -> Credential:
        """The credential, if it covers this.

        Raises:
            Refused: it does not.
        """
        credential: Credential | None = connection.scope.get(SCOPE_KEY)
        if credential is None:
            credential = await self.credential(connection)
        if not credential.allows(scope, job):
            what = "every job" if job is None else "this job"
            raise Refused("forbidden", f"this credential does not have the scope {scope!r} for {what}")
        return credential

    async def granted(self, connection: HTTPConnection, token: str | None) -> Granted:
        """What a live connection may read; `token` None: what its handshake brought."""
        try:
            if token is None or self.open:
                credential = await self.credential(connection)
            else:
                credential = await self.bearer(token)
        except Refused as refused:
            return Granted(0, None, refused.problem.code)
        if "read" not in credential.scopes:
            return Granted(0, None, "forbidden")
        clock = self._hr.clock
        expires_at = None if credential.expires_at is None else credential.expires_at - clock.wall() + clock.now()
        return Granted(0, Grant(credential.jobs is None, credential.jobs or frozenset(), expires_at))

    # -- origins ----------------------------------------------------------------------------------

    def check_origin(self, connection: HTTPConnection, *, extra: Iterable[str] = ()) -> None:
        """Refuse another site's page; programs, which send no Origin, pass.

        Raises:
            Refused: the Origin is neither this host nor one of `extra`.
        """
        origin = connection.headers.get("origin")
        if origin is None or origin in extra or _same_host(origin, connection):
            return
        raise Refused("origin-refused", f"pages of {origin[:200]} may not do this; see `origins=`")

    def check_live_origin(self, connection: HTTPConnection) -> None:
        """As `check_origin`, for the WebSocket, which CORS does not cover."""
        self.check_origin(connection, extra=self._hr.origins)

    # -- kinds ------------------------------------------------------------------------------------

    def _of_this_machine(self, connection: HTTPConnection) -> Credential:
        host = connection.headers.get("host", "")
        client = connection.client.host if connection.client is not None else ""
        proxied = [name for name in connection.headers if name in FORWARDED or name.startswith("x-forwarded")]
        if connection.scope.get("http_version") == "1.0":
            proxied.append("HTTP/1.0")  # no browser, and what nginx speaks to its upstreams unless told otherwise
        if proxied or not _is_loopback(_hostname(host)) or not (client in ("", "testclient") or _is_loopback(client)):
            why = f"; it came through a proxy ({proxied[0]})" if proxied else ""
            raise Refused("forbidden", f"auth is off, so this answers to this machine alone{why}")
        self.check_origin(connection)
        return Credential("open", SCOPES)

    async def _of_key(self, token: str) -> Credential:
        key_id, _, secret = token.removeprefix(PREFIX).partition("_")
        key = (await self._known_keys()).get(key_id)
        digest = digest_of(token)
        expected = b"" if key is None else key.digest
        if not hmac.compare_digest(digest, expected) or key is None or not secret or key.revoked_at is not None:
            raise Refused("unauthorized", "this API key is not known, or was revoked")
        return Credential(f"key:{key.id}", frozenset(key.scopes) & SCOPES)

    async def _of_session(self, claims: Claims) -> Credential:
        """A session that came from an API key ends with it."""
        if claims.subject != "session":
            raise Refused("unauthorized", "this is no session")
        scopes = claims.scopes
        if claims.name.startswith("key:"):
            key = (await self._known_keys()).get(claims.name.removeprefix("key:"))
            if key is None or key.revoked_at is not None:
                raise Refused("unauthorized", "the API key of this session was revoked")
            scopes &= frozenset(key.scopes)
        return Credential(f"session:{claims.name}", scopes, None, claims.expires_at)

    async def _known_keys(self) -> dict[str, ApiKey]:
        now = self._hr.clock.now()
        if now - self._keys_at > KEYS_FRESH_S:
            spool = self._hr.services.spooling.spool
            known = spool is not None and now - self._keys_at <= KEYS_SPOOLING_S
            if known and spool is not None and spool.away:
                return self._keys
            try:
                await self._hr.open()
                self._keys = {key.id: key for key in await self._hr.vault.api_keys()}
            except StoreUnavailable:
                if not known:
                    raise
                return self._keys  # enqueues are spooled for those who were known
            self._keys_at = now
        return self._keys

    def _verified(self, token: str) -> Claims:
        if len(token) > TOKEN_CHARS_MAX:
            raise Refused("unauthorized", "this is no token of ours")
        try:
            return self.signer.verify(token)
        except BadToken as error:
            raise Refused(error.code, str(error)) from None

    @property
    def signer(self) -> Signer:
        """The open Headrace's signer."""
        signer = self._hr.services.signer
        if signer is None:
            raise StoreUnavailable("the signing secret is in the store, which is out of reach")
        return signer


def check_auth(auth: Callable[..., Any] | None) -> None:
    """`auth=` must work for WebSockets too, so it may want one `HTTPConnection` and nothing else.

    Raises:
        InvalidConfig: it wants something else.
    """
    if auth is None:
        return
    parameters = list(inspect.signature(auth, eval_str=True).parameters.values())
    if len(parameters) != 1 or parameters[0].annotation is not HTTPConnection:
        raise InvalidConfig(
            "auth= takes a function of one parameter annotated HTTPConnection (a WebSocket has no Request); it returns "
            "the scopes of the app's own user, as ('read',), or None"
        )


async def own_user(hr: Headrace, connection: HTTPConnection) -> frozenset[str]:
    """The scopes that the app's own `auth=` gives to this visitor; empty: none."""
    if hr.auth is None:
        return frozenset()
    said: object = hr.auth(connection)
    if inspect.isawaitable(said):
        said = await said
    if said is None or said is False:
        return frozenset()
    if said is True or isinstance(said, str) or not isinstance(said, Iterable):
        raise InvalidConfig("auth= returns scopes, as ('read', 'operate'), or None")
    scopes = frozenset(str(scope) for scope in cast("Iterable[object]", said))
    if scopes - SCOPES:
        raise InvalidConfig(f"auth= returned unknown scopes; there are {', '.join(sorted(SCOPES))}")
    return scopes


def _bearer(headers: Headers) -> str | None:
    given = headers.get("authorization")
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        return None  # of somebody else, as a proxy's password: the cookie may still speak
    if not token.strip():
        raise Refused("unauthorized", "the Authorization header should read `Bearer …`")
    return token.strip()


def _same_host(origin: str, connection: HTTPConnection) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return bool(parts.netloc) and parts.netloc.lower() == connection.headers.get("host", "").lower()


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
