"""Sinks over HTTP: what waits, what is parked, and what becomes of that; and their part of the page."""

import html
from collections.abc import Mapping, Sequence
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request

from headrace.app import Headrace
from headrace.core.ids import as_uuid
from headrace.core.sink_record import SinkStatus
from headrace.ports.post import Parked, Post
from headrace.runtime.views import parked_view, sink_view, target_text
from headrace.web.area import Area
from headrace.web.cells import age, ago, button, short
from headrace.web.problems import ProblemRoute, Refused, refusals
from headrace.web.schemas_sinks import (
    PLACE_MAX,
    DropBody,
    DroppedAnswer,
    ParkedPageView,
    SendAgainBody,
    SentAgainAnswer,
    SinksView,
)

PAGE: Final = 50
PARKED_SHOWN: Final = 10
"""Of each sink, on the page."""
NAME_CHARS_MAX: Final = 200
WHY_CHARS: Final = 160


class SinksApi(Area):
    """What the routes of sinks do."""

    async def _outbox(self, sink: str) -> Post:
        store = self._hr.store
        if not isinstance(store, Post) or all(record.name != sink for record in await store.sinks()):
            raise Refused("not-found", f"no event was published to a sink {sink!r}")
        return store

    async def sinks(self, request: Request) -> dict[str, object]:
        """Every sink."""
        await self._allowed(request, "read")
        return {"sinks": [sink_view(status) for status in await self._hr.sinks()]}

    async def parked(self, request: Request, sink: str, after: int) -> dict[str, object]:
        """What it has refused."""
        await self._allowed(request, "read")
        found = await (await self._outbox(sink)).parked(sink, after, PAGE + 1)
        shown = found[:PAGE]
        return {
            "parked": [parked_view(each) for each in shown],
            "next_after": shown[-1].place if len(found) > PAGE else None,
        }

    async def retry(self, request: Request, sink: str, body: SendAgainBody) -> dict[str, object]:
        """Let parked events go."""
        await self._allowed(request, "operate")
        return {"retried": await (await self._outbox(sink)).unpark(sink, body.places)}

    async def drop(self, request: Request, sink: str, body: DropBody) -> dict[str, object]:
        """Delete parked events."""
        await self._allowed(request, "operate")
        return {"dropped": await (await self._outbox(sink)).drop(sink, body.places)}


def sinks_router(api: SinksApi, route: type[ProblemRoute]) -> APIRouter:
    """Sinks and their parked events."""
    router = APIRouter(prefix="/api/sinks", tags=["bridges"], route_class=route)
    name = Path(min_length=1, max_length=NAME_CHARS_MAX)
    said = refusals(400, 401, 403, 404, 413, 422)

    @router.get("", response_model=SinksView, responses=refusals(400, 401, 403))
    async def sinks(request: Request) -> dict[str, object]:
        """Every sink of events: what waits for it, what is parked, and how the process that sends stands."""
        return await api.sinks(request)

    @router.get("/{sink}/parked", response_model=ParkedPageView, responses=refusals(400, 401, 403, 404, 422))
    async def parked(
        request: Request, sink: str = name, after: Annotated[int, Query(ge=0, le=PLACE_MAX)] = 0
    ) -> dict[str, object]:
        """The events that a sink has refused too often, beyond a place, in order."""
        return await api.parked(request, sink, after)

    @router.post("/{sink}/retry", response_model=SentAgainAnswer, responses=said)
    async def retry(request: Request, body: SendAgainBody, sink: str = name) -> dict[str, object]:
        """Let parked events go again: those of some places, or all."""
        return await api.retry(request, sink, body)

    @router.post("/{sink}/drop", response_model=DroppedAnswer, responses=said)
    async def drop(request: Request, body: DropBody, sink: str = name) -> dict[str, object]:
        """Delete parked events for good."""
        return await api.drop(request, sink, body)

    return router


# --- the page --------------------------------------------------------------------------------------


async def found(hr: Headrace) -> tuple[Sequence[SinkStatus], Mapping[str, Sequence[Parked]]]:
    """Every sink, and the first parked events of each."""
    sinks, store = await hr.sinks(), hr.store
    if not isinstance(store, Post):
        return sinks, {}
    return sinks, {each.name: await store.parked(each.name, 0, PARKED_SHOWN) for each in sinks if each.parked}


def sink_rows(sinks: Sequence[SinkStatus], *, operates: bool) -> list[list[str]]:
    """A row of each."""
    return [
        [
            html.escape(sink.name),
            f'<span class="{_COLOURS.get(sink.state, "failed")}">{sink.state.replace("_", " ")}</span>',
            f"over {sink.waiting:,}" if sink.more else f"{sink.waiting:,}",
            "" if sink.age_s is None else age(sink.age_s),
            f"<span class=failed>{sink.parked:,}</span>" if sink.parked else "0",
            html.escape(sink.why[:WHY_CHARS]),
            button("Send all again", f"api/sinks/{_quoted(sink.name)}/retry", {}) if operates and sink.parked else "",
        ]
        for sink in sinks
    ]


_COLOURS: Final = {"idle": "dim", "standby": "dim", "sending": "succeeded"}


def parked_rows(parked: Mapping[str, Sequence[Parked]], *, operates: bool) -> list[list[str]]:
    """A row of each, with what the broker said last."""
    return [
        [
            html.escape(sink),
            f"{html.escape(target_text(each.event.target))} {short(as_uuid(each.event.id))}",
            html.escape(each.event.key or ""),
            ago(each.age_s),
            html.escape(each.why[:WHY_CHARS]),
            _buttons(sink, each.place) if operates else "",
        ]
        for sink, events in parked.items()
        for each in events
    ]


def _buttons(sink: str, place: int) -> str:
    path, body = f"api/sinks/{_quoted(sink)}", {"places": [place]}
    asked = "Delete this event for good? It was not sent."
    again, drop = button("Send again", f"{path}/retry", body), button("Drop", f"{path}/drop", body, asked)
    return f"<span class=line>{again}{drop}</span>"


def _quoted(name: str) -> str:
    return quote(name, safe="")
