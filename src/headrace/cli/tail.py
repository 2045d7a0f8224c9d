"""`headrace tail`: follow one job live, a bar where a person looks, a line per update in a pipe."""

import json
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, assert_never

import click

from headrace.cli import output
from headrace.cli.jobs import progress_text, unknown
from headrace.cli.params import job_id, json_option
from headrace.cli.reach import Where, opened, store_options, waits
from headrace.core.feed import Position
from headrace.core.ids import as_uuid
from headrace.core.model import Update, UpdateKind
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.core.model import JobId, JobRecord

EXITS: Final = {JobState.SUCCEEDED: 0, JobState.FAILED: 1, JobState.CANCELLED: 3}
ITEM_WIDTH: Final = 160


class Teller(Protocol):
    """Shows a feed."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *_: object) -> None:
        """Leave the screen as it should stay."""
        ...

    def tell(self, update: Update) -> None:
        """One more update."""
        ...


@click.command("tail")
@click.argument("job", type=job_id, metavar="JOB")
@json_option
@store_options
@waits
async def tail_command(where: Where, *, job: "JobId", as_json: bool) -> int:
    """Follow one job live, from its first update on.

    Exits 0 when the job succeeded, 1 when it failed, 3 when it was cancelled. With --json, one JSON object a line.
    """
    async with opened(where) as hr:
        record = (await hr.store.get([job]))[0]
        if record is None:
            raise unknown(job)
        after = Position(hr.store.epoch, 0)
        with _teller(record, hr.store.epoch, as_json=as_json) as teller:
            async for told in hr.feed.updates(job, after):
                if isinstance(told, Update):
                    teller.tell(told)
        ended = (await hr.store.get([job]))[0]
    return EXITS.get(ended.state, 1) if ended is not None else 1


def _teller(record: "JobRecord", epoch: str, *, as_json: bool) -> Teller:
    if as_json:
        return JsonLines(epoch)
    return Bar(record) if output.is_terminal() else Lines(record)


class JsonLines:
    """One JSON object a line, as the live feed's `update` has them."""

    def __init__(self, epoch: str) -> None:
        """`epoch` is the positions' first half."""
        self._epoch = epoch

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    def tell(self, update: Update) -> None:
        """Position, attempt, kind, data, instant."""
        told = {
            "position": str(Position(self._epoch, update.offset)),
            "attempt": update.attempt,
            "kind": update.kind.value,
            "data": json.loads(update.data),
            "at": output.rfc3339(update.at),
        }
        output.line(output.as_json(told, indent=None))


class Lines:
    """A plain line per update."""

    def __init__(self, record: "JobRecord") -> None:
        """`record` names the job in the first line."""
        self._record = record

    def __enter__(self) -> Self:
        """Which job this is."""
        output.line(f"{output.rfc3339(self._record.created_at)}  job {as_uuid(self._record.id)} {self._record.task}")
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    def tell(self, update: Update) -> None:
        """When, which attempt, what."""
        output.line(f"{output.rfc3339(update.at)}  {wording(update)}")


class Bar:
    """The updates above, and the progress of the running attempt in a bar below them."""

    def __init__(self, record: "JobRecord") -> None:
        """`record` names the job."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._record = record
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[counted]}", markup=False),
            TimeElapsedColumn(),
            console=output.console(),
            transient=True,
        )
        self._bar = self._progress.add_task(record.task, total=None, counted="")

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        self._progress.console.print(f"{self._record.task}  {as_uuid(self._record.id)}", style="bold")
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away; what was told stays."""
        self._progress.stop()

    def tell(self, update: Update) -> None:
        """Progress moves the bar, everything else is a line above it."""
        data: dict[str, Any] = json.loads(update.data)
        if update.kind is UpdateKind.PROGRESS:
            self._progress.update(
                self._bar, completed=data.get("done") or 0, total=data.get("total"), counted=progress_text(update.data)
            )
            return
        state = str(data.get("state", ""))
        style = output.COLOURS.get(state, "")
        told = f"  {output.rfc3339(update.at)}  {wording(update)}"
        self._progress.console.print(told, style=style if update.kind is not UpdateKind.ITEM else "")


def wording(update: Update) -> str:
    """What an update says, on one line."""
    data: dict[str, Any] = json.loads(update.data)
    match update.kind:
        case UpdateKind.PROGRESS:
            text = f"progress {progress_text(update.data) or ''}"
        case UpdateKind.LOG:
            text = f"log {data.get('level', 'info')}: {data.get('message', '')}"
        case UpdateKind.ITEM:
            key = data.get("key")
            text = f"item {f'{key} ' if key else ''}{output.as_json(data.get('data'), indent=None)}"
        case UpdateKind.STATE:
            text = f"{data.get('state')}{_because(data)}"
        case UpdateKind.END:
            text = f"{data.get('state')}{_because(data)}"
            if data.get("result") is not None:
                text += f" {output.as_json(data['result'], indent=None)}"
        case _:
            assert_never(update.kind)
    attempt = f"attempt {update.attempt}  " if update.attempt else ""
    line = attempt + " ".join(text.split())
    return line if len(line) <= ITEM_WIDTH or not output.is_terminal() else f"{line[: ITEM_WIDTH - 1]}…"


def _because(data: dict[str, Any]) -> str:
    """Why the state changed, where the update says."""
    said = [str(data[name]) for name in ("outcome", "cause") if data.get(name)]
    due = data.get("due_in_s")
    if due:
        said.append(f"due in {output.span(float(due))}")
    error: dict[str, Any] | None = data.get("error")
    if error:
        said.append(f"{error.get('type')}: {error.get('message')}")
    return f" ({', '.join(said)})" if said else ""
