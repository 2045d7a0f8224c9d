"""`headrace webhooks`: endpoints of others, their secrets, what they answered; enabled again, replayed."""

import os
from typing import TYPE_CHECKING, Any, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.jobs import each
from headrace.cli.params import Ago, Listing, ago, json_option
from headrace.cli.reach import Where, opened, store_options, waits
from headrace.core.ids import as_uuid
from headrace.core.model import JobFilter
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.app import Headrace
    from headrace.app.webhooks import WebhookRecord
    from headrace.core.model import JobRecord

ANSWER_CHARS: Final = 60
REPLAYED: Final = {JobState.FAILED, JobState.CANCELLED}
_TAKE_APP: Final = "take the app that defines the webhook with --app"


@click.group("webhooks", cls=Listing)
def webhooks_command() -> None:
    """What endpoints answer; their secrets; enable, replay.

    Without a command, the list.
    """


@webhooks_command.command("list")
@json_option
@store_options
@waits
async def list_(where: Where, *, as_json: bool) -> None:
    """Every webhook that the app has defined or any process has had."""
    from headrace.app.webhook_views import webhook_view

    async with opened(where) as hr:
        found, now = await hr.webhooks(), hr.clock.wall()
    if as_json:
        output.write_json({"webhooks": [webhook_view(webhook) for webhook in found]})
        return
    columns = ("webhook", "endpoint", "state", "since", "latest", "answer")
    output.table(columns, [_row(webhook, now) for webhook in found], empty="No process has had a webhook yet.")
    for webhook in found:
        if not webhook.enabled and webhook.upstream is not None:
            output.note(f"headrace: {webhook.name} is disabled: {webhook.upstream.reason}")


def _row(webhook: "WebhookRecord", now: float) -> tuple[object, ...]:
    from headrace.app.webhook_views import last_answer

    upstream, last = webhook.upstream, webhook.last
    return (
        webhook.name,
        None if webhook.defined is None else webhook.defined.origin,
        None if upstream is None else upstream.state.value if webhook.enabled else "disabled",
        None if upstream is None else output.when(upstream.since_at, now),
        None if last is None else last.state.value,
        None if last is None else (last_answer(last) or "").partition("\n")[0][:ANSWER_CHARS],
    )


@webhooks_command.command()
@click.argument("name", required=False)
@click.option("--new", is_flag=True, help="Make one and show it, without keeping it: to rotate to.")
@store_options
@waits
async def secret(where: Where, *, name: str | None, new: bool) -> None:
    """Show what the receiver of webhook NAME verifies with: the APP says which, so give --app."""
    if new == (name is not None):
        raise click.UsageError("give the NAME of a webhook, or --new")
    if name is None:
        from headrace.core.webhooks import Secret

        output.line(Secret(os.urandom(32)).reveal())
        return
    async with opened(where) as hr:
        if name not in hr.endpoints:
            known = ", ".join(sorted(hr.endpoints))
            raise Fail(
                f"no webhook {name!r} is defined here",
                f"there are {known}" if known else "take the app that defines it with --app",
            )
        found = await hr.endpoints[name].secrets()
    for each_ in found:
        output.line(each_.reveal())


@webhooks_command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@store_options
@waits
async def enable(where: Where, *, names: tuple[str, ...]) -> None:
    """Send again to an endpoint that has answered 410; what waited for it is sent too."""
    from headrace.core.errors import UnknownWebhook

    async with opened(where) as hr:
        for name in names:
            try:
                await hr.enable_webhook(name)
            except UnknownWebhook as error:
                raise Fail(str(error), "`headrace webhooks list` shows them") from None
            output.line(f"{name}: enabled")


@webhooks_command.command()
@click.argument("name")
@click.option("--since", type=ago, metavar="WHEN", help="Published after: 10m, 2h, 7d ago, or an instant.")
@click.option("--all", "everything", is_flag=True, help="Those that arrived too; needs --app.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="At most so many.")
@click.option("--rate", type=click.FloatRange(0.1, 10_000), default=100.0, show_default=True, help="How many a second.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@json_option
@store_options
@waits
async def replay(where: Where, /, *, name: str, as_json: bool, dry_run: bool, rate: float, **which: Any) -> None:
    """Send what did not arrive at webhook NAME once more, oldest first, under the same ids."""
    from headrace.core.errors import UnknownTask

    if which["everything"] and where.target is None:
        raise Fail("--all sends what arrived, too, which only its app can", _TAKE_APP)
    async with opened(where) as hr:
        found = await _deliveries(hr, name, **which)
        began = hr.clock.now()
        for at, job in enumerate(found if not dry_run else []):
            await hr.clock.sleep(began + at / rate - hr.clock.now())
            try:
                await hr.replay_delivery(as_uuid(job.id))
            except UnknownTask as error:
                raise Fail(str(error), _TAKE_APP) from None
    shown = [_shown(job) for job in found]
    if as_json:
        output.write_json({"deliveries": shown, "dry_run": dry_run})
        return
    for one in shown:
        output.line(f"{one['job']}  {one['event']}  {one['state']}" + ("" if dry_run else " -> sent again"))
    if not shown:
        output.note("headrace: no delivery matches")


async def _deliveries(
    hr: "Headrace", name: str, *, since: Ago | None, everything: bool, limit: int
) -> "list[JobRecord]":
    """What is to be sent again, oldest first; of several jobs of one event the newest one counts."""
    from headrace.app.webhook_views import event_of

    after = None if since is None else since.at(hr.clock.wall())
    wanted = {*JobState} if everything else REPLAYED
    seen, found = set[str](), list["JobRecord"]()
    async for job in each(hr, JobFilter(task=f"webhook:{name}", created_after=after), None):
        event = str(event_of(job).get("id"))
        if event not in seen and job.state.terminal and job.state in wanted:
            found.append(job)
        seen.add(event)
        if len(found) == limit:
            break
    return found[::-1]


def _shown(job: "JobRecord") -> dict[str, object]:
    from headrace.app.webhook_views import event_of

    return {"job": str(as_uuid(job.id)), "event": event_of(job).get("id"), "state": job.state.value}
