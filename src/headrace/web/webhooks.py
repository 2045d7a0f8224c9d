"""Webhooks over HTTP: what there is, enabled again, a delivery replayed; and their part of the page."""

import html
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Path, Request

from headrace.app import Headrace
from headrace.app.webhook_views import event_of, last_answer, webhook_view
from headrace.app.webhooks import WebhookRecord
from headrace.core.deliveries import NAME, QUEUE
from headrace.core.fleet import BreakerState
from headrace.core.ids import as_uuid
from headrace.core.model import JobFilter, JobRecord
from headrace.core.states import JobState
from headrace.web.area import Area
from headrace.web.cells import breaker, button, due, short
from headrace.web.problems import ProblemRoute, refusals
from headrace.web.schemas_webhooks import ReplayedAnswer, WebhooksView, WebhookView

NAME_CHARS_MAX: Final = 56
DELIVERIES_SHOWN: Final = 20
ANSWER_CHARS: Final = 160


class WebhooksApi(Area):
    """What the routes of webhooks do."""

    async def webhooks(self, request: Request) -> dict[str, object]:
        """Every webhook."""
        await self._allowed(request, "read")
        return {"webhooks": [webhook_view(webhook) for webhook in await self._hr.webhooks()]}

    async def enable(self, request: Request, webhook: str) -> dict[str, object]:
        """Send there again."""
        await self._allowed(request, "operate")
        return webhook_view(await self._hr.enable_webhook(webhook))

    async def replay(self, request: Request, job: UUID) -> dict[str, object]:
        """Send one once more."""
        await self._allowed(request, "operate")
        return {"job": str((await self._hr.replay_delivery(job)).id)}


def webhooks_router(api: WebhooksApi, route: type[ProblemRoute]) -> APIRouter:
    """Webhooks and their deliveries."""
    router = APIRouter(prefix="/api/webhooks", tags=["webhooks"], route_class=route)
    name = Path(min_length=1, max_length=NAME_CHARS_MAX)
    said = refusals(400, 401, 403, 404, 413, 422)

    @router.get("", response_model=WebhooksView, responses=refusals(400, 401, 403))
    async def webhooks(request: Request) -> dict[str, object]:
        """Every webhook: whether it is enabled, and how its latest delivery was answered."""
        return await api.webhooks(request)

    @router.post("/{webhook}/enable", response_model=WebhookView, responses=said)
    async def enable(request: Request, webhook: str = name) -> dict[str, object]:
        """Send again to an endpoint that has answered 410; what waited for it is sent too."""
        return await api.enable(request, webhook)

    @router.post(
        "/deliveries/{job_id}/replay",
        response_model=ReplayedAnswer,
        responses=refusals(400, 401, 403, 404, 409, 413, 422),
    )
    async def replay(request: Request, job_id: UUID) -> dict[str, object]:
        """Send a delivery that has ended once more, under the same id."""
        return await api.replay(request, job_id)

    return router


# --- the page --------------------------------------------------------------------------------------


async def found(hr: Headrace) -> tuple[Sequence[WebhookRecord], Sequence[JobRecord]]:
    """Every webhook, and the latest deliveries of all of them."""
    webhooks = await hr.webhooks()
    if not webhooks:
        return (), ()
    return webhooks, (await hr.store.find(JobFilter(queue=QUEUE), limit=DELIVERIES_SHOWN)).jobs


def webhook_rows(webhooks: Sequence[WebhookRecord], *, operates: bool) -> list[list[str]]:
    """A row of each."""
    return [
        [
            html.escape(webhook.name),
            "" if webhook.defined is None else html.escape(webhook.defined.origin),
            *_standing(webhook),
            button("Enable", f"api/webhooks/{_quoted(webhook.name)}/enable")
            if operates and not webhook.enabled
            else "",
        ]
        for webhook in webhooks
    ]


def _standing(webhook: WebhookRecord) -> tuple[str, str]:
    """How it stands, and why: what its breaker says, or how its latest delivery was answered, if not well."""
    upstream, last = webhook.upstream, webhook.last
    state = BreakerState.CLOSED if upstream is None else upstream.state
    words = {
        BreakerState.CLOSED: "enabled",
        BreakerState.DISABLED: "enabled",
        BreakerState.FORCED_OPEN: "disabled",
    }
    why = "" if upstream is None or state is BreakerState.CLOSED else upstream.reason
    if not why and last is not None and last.state is not JobState.SUCCEEDED:
        why = (last_answer(last) or "")[:ANSWER_CHARS]
    return breaker(state, words.get(state, "")), html.escape(why)


def delivery_rows(jobs: Sequence[JobRecord], now_at: float, *, operates: bool) -> list[list[str]]:
    """A row of each, with what was answered last."""
    rows: list[list[str]] = []
    for job in jobs:
        if not job.task.startswith(NAME):
            continue
        event = event_of(job)
        replay = button("Replay", f"api/webhooks/deliveries/{as_uuid(job.id)}/replay")
        rows.append(
            [
                html.escape(job.task.removeprefix(NAME)),
                f"{html.escape(str(event.get('type') or ''))} {short(str(event.get('id')))}",
                f'<span class="{job.state.value}">{job.state.value}</span>{due(job.run_at, now_at)}',
                f"{job.attempt} <span class=dim>of {job.max_attempts}</span>",
                html.escape((last_answer(job) or "")[:ANSWER_CHARS]),
                replay if operates and job.state.terminal else "",
            ]
        )
    return rows


def _quoted(name: str) -> str:
    return quote(name, safe="")
