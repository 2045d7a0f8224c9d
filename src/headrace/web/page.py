"""`GET /`: queues, upstreams, sources, sinks, webhooks, jobs and workers on one plain page, with a few buttons."""

import base64
import hashlib
import html
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse

from headrace.app import Headrace
from headrace.core.fleet import BreakerState
from headrace.core.fleet_record import UpstreamRecord
from headrace.core.ids import as_uuid
from headrace.core.model import JobFilter, JobRecord, QueueRecord, WorkerRecord
from headrace.core.problems import Problem
from headrace.core.source_record import SourceStatus
from headrace.core.states import JobState
from headrace.web.auth import Guard
from headrace.web.cells import ACTIONS, age, ago, breaker, due, short
from headrace.web.problems import ProblemRoute, Refused
from headrace.web.sinks import found as sinks_found
from headrace.web.sinks import parked_rows, sink_rows
from headrace.web.webhooks import delivery_rows, webhook_rows
from headrace.web.webhooks import found as webhooks_found

JOBS_SHOWN: Final = 50
REFRESH_S: Final = 3
MESSAGE_CHARS: Final = 160
OWN: Final = "headrace."
RAMP_SHOWN_S: Final = 60.0
"""For so long, an upstream that has come back says so."""

STYLE: Final = """
:root{color-scheme:light dark;--line:light-dark(#e4e2dd,#35373b);--dim:light-dark(#6b6f76,#9a9fa8)}
body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1.25rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:2.2rem 0 .4rem}
p{color:var(--dim);margin:.2rem 0}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th{font-weight:500;text-align:left;color:var(--dim)}
th,td{padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td:first-child,.line{white-space:nowrap}code{font:.85em ui-monospace,monospace}.dim{color:var(--dim)}
.failed{color:light-dark(#b42318,#ff8a7a)}.succeeded{color:light-dark(#1b7a43,#6fd394)}
.running{color:light-dark(#0b6e83,#62c6da)}
input,button{font:inherit;padding:.45rem .7rem}
td button{font-size:.85em;line-height:1.2;padding:.15rem .5rem;margin:0 .3rem .2rem 0;white-space:nowrap}
@media(max-width:42rem){thead{display:none}table,tbody,tr,td{display:block}
tr{padding:.5rem 0;border-bottom:1px solid var(--line)}
td,td.n,td:first-child{border:0;padding:0 0 0 7rem;text-align:left;white-space:normal;overflow-wrap:anywhere}
td:empty{display:none}
td::before{content:attr(data-head);float:left;width:7rem;margin-left:-7rem;color:var(--dim);white-space:nowrap}}
"""

SCRIPT: Final = """
document.querySelector("form")?.addEventListener("submit",async event=>{
event.preventDefault();
const answer=await fetch("api/session",{method:"POST",headers:{"Content-Type":"application/json"},
body:JSON.stringify({key:new FormData(event.target).get("key")})});
if(answer.ok)location.reload();
else document.querySelector("output").textContent=(await answer.json()).detail});
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src {_hash(STYLE)}; "
    f"script-src {_hash(SCRIPT)} {_hash(ACTIONS)}; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def page_router(hr: Headrace, guard: Guard, route: type[ProblemRoute]) -> APIRouter:
    """`GET /` under the prefix."""
    router = APIRouter(include_in_schema=False, route_class=route)

    @router.get("/", response_class=HTMLResponse)
    async def page(request: Request) -> Response:
        """What is there, for people."""
        await hr.open()
        try:
            credential = await guard.allowed(request, "read")
        except Refused as refused:
            shown = _log_in(refused.problem) if refused.problem.status == 401 else _refused(refused.problem)  # noqa: PLR2004
            return HTMLResponse(shown, refused.problem.status, HEADERS)
        queues, workers = await hr.store.queues(), await hr.store.workers()
        jobs = (await hr.store.find(JobFilter(), limit=JOBS_SHOWN)).jobs
        upstreams, now_at = await hr.upstreams(), hr.clock.wall()
        operates = credential.allows("operate")
        sent = await _sinks(hr, operates=operates) + await _webhooks(hr, now_at, operates=operates)
        shown = _frame(
            _queues(queues)
            + _upstreams(upstreams, now_at)
            + _sources(await hr.source_status())
            + sent
            + _workers(workers, now_at)
            + _jobs(jobs, now_at),
            refresh=True,
        )
        return HTMLResponse(shown, 200, HEADERS)

    return router


def _frame(body: str, *, refresh: bool) -> str:
    again = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refresh else ""
    script = f"<script>{ACTIONS}</script>" if "data-post=" in body else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Headrace</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{again}'
        f"<style>{STYLE}</style></head><body><h1>Headrace</h1>{body}{script}</body></html>"
    )


def _refused(problem: Problem) -> str:
    return _frame(f"<p>{html.escape(problem.detail)}.</p>", refresh=False)


def _log_in(problem: Problem) -> str:
    why = problem.detail if problem.code != "unauthorized" else "Queues, jobs and workers are shown after a log-in"
    return _frame(
        f"<p>{html.escape(why)}.</p><form><p><label>API key <input name=key type=password autocomplete=off "
        "required></label> <button>Log in</button></p><p><output></output></p></form>"
        "<p>Make a key with <code>headrace keys create NAME</code>.</p>"
        f"<script>{SCRIPT}</script>",
        refresh=False,
    )


def _queues(queues: Sequence[QueueRecord]) -> str:
    rows = [
        [
            html.escape(queue.name) + (" <span class=dim>paused</span>" if queue.paused else ""),
            *(f"{queue.counts.get(state, 0):,}" for state in JobState),
            "" if queue.oldest_ready_s is None else age(queue.oldest_ready_s),
        ]
        for queue in queues
    ]
    heads = ["queue", *(state.value for state in JobState), "oldest ready"]
    return _section("Queues", heads, rows, "No job yet.", numbers=True)


def _upstreams(upstreams: Sequence[UpstreamRecord], now_at: float) -> str:
    """Nothing where no process has ever had one."""
    if not upstreams:
        return ""
    rows = [
        [
            html.escape(upstream.name),
            breaker(upstream.state),
            f"<span class=line>{age(now_at - upstream.since_at)}</span>",
            f"<span class=line>{upstream.counts.failures:,} <span class=dim>of {upstream.counts.calls:,}</span></span>"
            if upstream.state is BreakerState.CLOSED
            else "",
            html.escape(", ".join(upstream.tasks)) if upstream.holds else "",
            html.escape(upstream.reason) + _next(upstream, now_at),
        ]
        for upstream in upstreams
    ]
    return _section("Upstreams", ["upstream", "state", "for", "failed", "holds", ""], rows, "")


def _next(upstream: UpstreamRecord, now_at: float) -> str:
    """What comes next: the try, the outcomes of the probes so far, or the ramp."""
    said = ""
    if upstream.retry_at is not None:
        wait_s = upstream.retry_at - now_at
        said = f"tried again in {age(wait_s)}" if wait_s > 0 else "tried again by what comes next"
    elif upstream.state is BreakerState.HALF_OPEN:
        under_way = f", {upstream.permits} under way" if upstream.permits else ""
        said = f"probes: {upstream.probed.calls} ended, {upstream.probed.failures} failed{under_way}"
    elif upstream.ramp_at is not None and now_at - upstream.ramp_at < RAMP_SHOWN_S:
        said = "closed after its probes; what it held comes back over its ramp"
    between = "; " if said and upstream.reason else ""
    return f"<span class=dim>{between}{said}</span>" if said else ""


def _coloured(state: str) -> str:
    return f'<span class="{"succeeded" if state == "consuming" else "failed"}">{state.replace("_", " ")}</span>'


def _sources(sources: Sequence[SourceStatus]) -> str:
    """Nothing where no message was ever to be taken."""
    if not sources:
        return ""
    rows = [
        [
            html.escape(source.name),
            _coloured(source.state or "unattended"),
            f"{source.counts.taken:,}",
            f"{source.counts.letters:,}",
            "" if source.taken_age_s is None else ago(source.taken_age_s),
            html.escape(source.why[:MESSAGE_CHARS]),
        ]
        for source in sources
    ]
    return _section("Sources", ["source", "state", "taken", "letters", "last", "why"], rows, "")


async def _sinks(hr: Headrace, *, operates: bool) -> str:
    """Nothing where no event was ever published to a broker."""
    sinks, parked = await sinks_found(hr)
    if not sinks:
        return ""
    heads = ["sink", "state", "waiting", "oldest", "parked", "why", ""]
    shown = _section("Sinks", heads, sink_rows(sinks, operates=operates), "")
    if not parked:
        return shown
    heads = ["sink", "event", "key", "published", "why", ""]
    return shown + _section("Parked events", heads, parked_rows(parked, operates=operates), "")


async def _webhooks(hr: Headrace, now_at: float, *, operates: bool) -> str:
    """Nothing where no process has ever had one."""
    webhooks, deliveries = await webhooks_found(hr)
    if not webhooks:
        return ""
    rows = webhook_rows(webhooks, operates=operates)
    shown = _section("Webhooks", ["webhook", "endpoint", "state", "why", ""], rows, "")
    heads = ["webhook", "event", "state", "attempt", "latest answer", ""]
    sent = _section("Latest deliveries", heads, delivery_rows(deliveries, now_at, operates=operates), "None.")
    return shown + sent


def _workers(workers: Sequence[WorkerRecord], now_at: float) -> str:
    rows = [
        [
            f"<code>{html.escape(worker.id)}</code>",
            html.escape(worker.role) + ("" if worker.alive else " <span class=failed>silent</span>"),
            f"{html.escape(worker.host)} <span class=dim>pid {worker.pid}</span>",
            html.escape(worker.version),
            f"{worker.running} of {worker.concurrency}",
            age(now_at - worker.started_at),
        ]
        for worker in workers
        if worker.pid
    ]
    return _section(
        "Workers",
        ["worker", "role", "where", "version", "running", "up"],
        rows,
        "No worker is running: start one with <code>headrace worker APP</code>.",
    )


def _jobs(jobs: Sequence[JobRecord], now_at: float) -> str:
    rows = [_job_row(job, now_at) for job in jobs]
    return _section("Latest jobs", ["job", "state", "attempt", "created", ""], rows, "None.")


def _job_row(job: JobRecord, now_at: float) -> list[str]:
    about = ""
    if job.failure is not None and job.state in (JobState.FAILED, JobState.SCHEDULED):
        kind = job.failure.type
        name = kind.rpartition(".")[2] if kind.startswith(OWN) else kind
        about = html.escape(f"{name}: {job.failure.message}"[:MESSAGE_CHARS])
    return [
        f"{html.escape(job.task)} {short(as_uuid(job.id))}",
        f'<span class="{job.state.value}">{job.state.value}</span>{due(job.run_at, now_at)}',
        f"{job.attempt} <span class=dim>of {job.max_attempts}</span>",
        ago(now_at - job.created_at),
        about,
    ]


def _section(title: str, heads: list[str], rows: list[list[str]], empty: str, *, numbers: bool = False) -> str:
    if not rows:
        return f"<h2>{title}</h2><p>{empty}</p>"
    kind = ["n" if numbers and at else "" for at in range(len(heads))]
    head = "".join(f'<th class="{css}" scope=col>{name}</th>' for name, css in zip(heads, kind, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{css}" data-head="{name}">{cell}</td>'
            for cell, css, name in zip(row, kind, heads, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<h2>{title}</h2><div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
