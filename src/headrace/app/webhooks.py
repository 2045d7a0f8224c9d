"""Endpoints of others that events are posted to: defined, listed, enabled again; deliveries replayed.

Invariant: a delivery is a job like any other, so what holds, retries, shows and keeps jobs does so for it.
"""

import hashlib
import os
import re
import ssl
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, cast, final

from headrace.app.definitions import Definitions
from headrace.app.options import TAG_CHARS_MAX, Options
from headrace.app.task import Call, Task, new_job
from headrace.app.upstream import force, records
from headrace.core.addresses import AddressPolicy
from headrace.core.breaker import Breaker
from headrace.core.deliveries import (
    BREAKER,
    NAME,
    QUEUE,
    SCHEDULE,
    Types,
    check_url,
    payload_of,
    plain_payload,
)
from headrace.core.errors import (
    IllegalTransition,
    InvalidConfig,
    UnknownJob,
    UnknownWebhook,
    UsageError,
)
from headrace.core.fleet import BreakerState
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.limits import Limit
from headrace.core.model import JobFilter, JobRecord, NewJob
from headrace.core.states import JobState
from headrace.core.webhooks import Secret
from headrace.runtime.durations import Duration, seconds
from headrace.runtime.publishing import Prepared

if TYPE_CHECKING:
    from headrace.app.headrace import Headrace
    from headrace.app.job import Job
    from headrace.runtime.webhook import Delivered

TIMEOUT_S: Final = 15.0
TIMEOUT_S_MAX: Final = 60.0
ROOM_S: Final = 30.0
"""An attempt's timeout beyond that of its request: to find the name's addresses, and to wait for a turn."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,55}")
SECRETS_MAX: Final = 4
SECRET_BYTES: Final = 32


@final
class Webhook:
    """An endpoint that events are posted to, signed by Standard Webhooks 1.0: `await hr.publish(partner, event)`."""

    def __init__(self, hr: "Headrace", name: str, origin: str, types: Types, given: tuple[Secret, ...]) -> None:
        """Made by `Headrace.webhook`."""
        self.name: Final = name
        self.origin: Final = origin  # of the URL; the rest of it may be a secret
        self.types: Final = types
        self._hr = hr
        self._secrets = given
        self.task: Task[..., Delivered]  # set by `Headrace.webhook`

    def __repr__(self) -> str:
        return f"<Webhook {self.name} {self.origin}>"

    async def secrets(self) -> tuple[Secret, ...]:
        """What its deliveries are signed with: as given, or one that the store keeps, made at the first use."""
        if not self._secrets:
            await self._hr.open()
            kept = await self._hr.vault.secret(f"{NAME}{self.name}", os.urandom(SECRET_BYTES))
            self._secrets = (Secret(kept),)
        return self._secrets

    async def take(self, event: Prepared, using: object | None) -> None:
        """Enqueue the job that delivers an event, with the transaction of `using`; the same event's only once.

        Nothing where this webhook wants no events of its type.

        Raises:
            UsageError, InvalidEvent, PayloadTooLarge: what cannot be delivered.
            Full, Shed: the queue was declared, and has no room.
            StoreUnavailable: to repeat it is safe.
        """
        job = self._job(event)
        if job is not None:
            await self._hr.write([job], using)

    def take_sync(self, event: Prepared, using: object | None) -> None:
        """As `take`, blocking."""
        job = self._job(event)
        if job is not None:
            self._hr.write_sync([job], using, "await hr.publish(…)")

    def _job(self, event: Prepared) -> NewJob | None:
        if event.headers:
            raise UsageError(f"the headers of {self.name!r} are those of its signature: leave headers= out")
        cloud, event_id = event.cloud, str(event.id)
        if not self.types.wants(None if cloud is None else cloud.type):
            return None
        if cloud is None:
            payload = plain_payload(event_id, event.content_type, event.body)
        else:
            payload = payload_of(event_id, cloud)
        definition = self.task.definition
        args = definition.encode_args((), asdict(payload))
        kind = payload.type or ""
        tags = (kind,) if 0 < len(kind) <= TAG_CHARS_MAX and kind.isprintable() else ()
        job = new_job(Call(definition, args, Options(key=event_id, tags=tags)), self._hr)
        job.key_digest = hashlib.sha256(event_id.encode()).hexdigest()  # the first stands, whenever another was made
        job.deadline_at = None  # that of a job which publishes is not the event's
        return job


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """One webhook, as shown: what this process has defined of it, what the fleet knows, and its latest delivery."""

    name: str
    defined: Webhook | None
    upstream: UpstreamRecord | None
    last: JobRecord | None

    @property
    def enabled(self) -> bool:
        """Whether anything is sent; what is published meanwhile waits."""
        return self.upstream is None or self.upstream.state is not BreakerState.FORCED_OPEN


class Webhooks(Definitions, ABC):
    """The words of `Headrace` that are about webhooks."""

    endpoints: dict[str, Webhook]

    @abstractmethod
    async def open(self) -> None:
        """Open the store."""

    def webhook(
        self,
        name: str,
        url: str,
        *,
        secret: str | Sequence[str] | None = None,
        types: Iterable[str] | None = None,
        timeout: Duration = TIMEOUT_S,
        allow: Iterable[str] = (),
        insecure: bool = False,
        breaker: Breaker | None = None,
        concurrency: Limit | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> Webhook:
        """An endpoint of somebody else's, to `publish` events to: a job posts each, signed, until it arrives.

        `secret` is `whsec_…`, or two of them while one replaces the other; without it one is made and kept in the
        store: `headrace webhooks secret NAME` shows it. `types` are the events it gets, as `order.paid` or `order.*`.
        Only public addresses are called, and those of the networks in `allow`; `insecure` allows `http://`.
        `concurrency` limits its deliveries under way; `verify` is a TLS context that trusts your own certificates.

        Raises:
            InvalidConfig: what cannot work, the name is taken, or httpx is not installed.
        """
        what = f"the webhook {name!r}"
        if not _is_name(name):
            raise InvalidConfig(f"a webhook's name has 1 to 56 letters, digits and ._:@-, not {name!r:.80}")
        if name in self.endpoints:
            raise InvalidConfig(f"{what} is defined twice: define it once and import it")
        policy = AddressPolicy.allowing(allow, f"{what}: allow")
        origin = check_url(what, url, policy, insecure=insecure)
        if find_spec("httpx") is None:
            raise InvalidConfig(f"{what} needs httpx: pip install 'headrace[http]'")
        from headrace.runtime.webhook import Endpoint, Sender, body_of

        hr = cast("Headrace", self)
        timeout_s = seconds("timeout", timeout, least=0.001, most=TIMEOUT_S_MAX)
        made = Webhook(hr, name, origin, Types.of(types, what), _secrets(what, secret))
        called = f"{NAME}{name}"
        service = self.upstream(called, breaker=breaker or BREAKER, timeout=timeout_s, snoozes_max=0)
        guard = self.services.upstreams.guards[called]
        disable = partial(_disable, hr, called)
        sender = Sender(Endpoint(url, policy, timeout_s, made.secrets, disable, verify), guard, self.services.clock)
        decorate = self.task(
            called, queue=QUEUE, retry=SCHEDULE, timeout=timeout_s + ROOM_S, needs=[service], concurrency=concurrency
        )
        made.task = decorate(body_of(sender))
        self.endpoints[name] = made
        return made

    async def webhooks(self) -> list[WebhookRecord]:
        """Every webhook that this process has defined or any process has had, by name."""
        await self.open()
        seen = {each.name.removeprefix(NAME): each for each in await records(self.services.store) if _is(each.name)}
        return [await self._record(name, seen.get(name)) for name in sorted(seen.keys() | self.endpoints.keys())]

    async def _record(self, name: str, upstream: UpstreamRecord | None) -> WebhookRecord:
        page = await self.services.store.find(JobFilter(task=f"{NAME}{name}"), limit=1)
        return WebhookRecord(name, self.endpoints.get(name), upstream, page.jobs[0] if page.jobs else None)

    async def enable_webhook(self, name: str) -> WebhookRecord:
        """Send to an endpoint again that has answered 410; what was published meanwhile is sent too.

        Raises:
            UnknownWebhook: there is none of this name.
        """
        await self.open()
        store, called = self.services.store, f"{NAME}{name}"
        if name not in self.endpoints and called not in (await store.upstreams())[1]:
            raise UnknownWebhook(f"there is no webhook {name!r}")
        return await self._record(name, await force(store, called, "close", [called]))

    async def replay_delivery(self, job_id: uuid.UUID | str) -> "Job[Delivered]":
        """Send a delivery that has ended once more, under the same id; the job that does.

        One that failed or was cancelled runs again, one that succeeded gets a new job.

        Raises:
            UsageError: not the id of a job.
            UnknownJob: there is no such job, or it delivers nothing to a webhook.
            IllegalTransition: it has not ended.
            UnknownTask: it succeeded, and this process has not defined its webhook.
        """
        await self.open()
        hr = cast("Headrace", self)
        job = hr.job(job_id)
        (record,) = await hr.store.get([job.id.bytes])
        if record is None or not _is(record.task):
            raise UnknownJob(f"no delivery {job.id} is in the store")
        if not record.state.terminal:
            raise IllegalTransition(f"the delivery {job.id} has not ended: it is {record.state.value}")
        if record.state is JobState.SUCCEEDED:
            return await hr.submit(Call(hr.registry.get(record.task), record.args, Options(tags=record.tags)))
        await hr.store.retry([job.id.bytes])
        return await job.refresh()


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _is(task: str) -> bool:
    return task.startswith(NAME)


async def _disable(hr: "Headrace", called: str, why: str) -> None:
    await force(hr.store, called, "open", [called], why)


def _secrets(what: str, given: str | Sequence[str] | None) -> tuple[Secret, ...]:
    if given is None:
        return ()
    texts = [given] if isinstance(given, str) else list(given)
    if not 0 < len(texts) <= SECRETS_MAX:
        raise InvalidConfig(f"{what}: give one secret, or two while one replaces the other")
    try:
        return tuple(Secret.parse(each) for each in texts)
    except InvalidConfig as error:
        raise InvalidConfig(f"{what}: {error}") from None
