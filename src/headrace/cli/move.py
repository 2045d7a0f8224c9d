"""`headrace move`: take all jobs from a SQLite file to PostgreSQL, with seconds of pause."""

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.params import json_option
from headrace.cli.reach import run

if TYPE_CHECKING:
    from headrace.stores.move import Moved, Source, Stage

AGAIN = "the file goes on as before; run the command again to go on from here"


@click.command("move")
@click.argument("sqlite_url", metavar="SQLITE_URL")
@click.argument("postgres_url", metavar="POSTGRES_URL", required=False)
@click.option(
    "--grace", type=click.FloatRange(0, 86_400), default=30.0, show_default=True, metavar="SECONDS",
    help="What running attempts get to end before their jobs are given back.",
)  # fmt: skip
@click.option(
    "--abort", is_flag=True, help="Give up a move that has not ended; with POSTGRES_URL, empty the target too."
)
@json_option
def move_command(*, sqlite_url: str, postgres_url: str | None, grace: float, abort: bool, as_json: bool) -> int:
    """Take all jobs from a SQLite file to PostgreSQL, while both are in use.

    Everything is copied while APIs and workers go on. Then claims stop, attempts get the grace, and for a moment
    nothing is written. A move that was interrupted goes on when the same command is run again.
    """
    path = _path(sqlite_url)
    if postgres_url is not None:
        _check_target(postgres_url)
    if abort:
        return run(_abort(path, postgres_url, as_json=as_json))
    if postgres_url is None:
        raise Fail(
            "POSTGRES_URL is missing",
            "write headrace move sqlite:///headrace.db postgresql://user@host/database",
            code=2,
        )
    return run(_move(path, postgres_url, grace, as_json=as_json))


def _path(url: str) -> Path:
    """The file to move from."""
    from headrace.core.errors import InvalidConfig
    from headrace.stores.urls import shown_url, sqlite_path

    try:
        return sqlite_path(url.partition("?")[0]).absolute()
    except InvalidConfig:
        raise Fail(
            f"a move goes from SQLite to PostgreSQL, and {shown_url(url)!r} is no SQLite file",
            "write sqlite:///headrace.db or sqlite:////srv/headrace.db",
            code=2,
        ) from None


def _check_target(url: str) -> None:
    from headrace.stores.urls import POSTGRES, shown_url

    if not url.startswith(POSTGRES):
        raise Fail(
            f"a move goes from SQLite to PostgreSQL, and {shown_url(url)!r} is no PostgreSQL database",
            "write postgresql://user@host/database",
            code=2,
        )
    try:
        importlib.import_module("asyncpg")
    except ModuleNotFoundError:
        raise Fail("a move to PostgreSQL needs asyncpg", "pip install 'headrace[postgres]'") from None


def _source(path: Path, *, moved: bool) -> "Source":
    from headrace.runtime.clock import SystemClock
    from headrace.settings import Settings
    from headrace.stores.move import Source

    return Source(path, Settings().store_settings(), SystemClock().wall, moved=moved)


async def _move(path: Path, url: str, grace_s: float, *, as_json: bool) -> int:
    from headrace.runtime.clock import SystemClock
    from headrace.settings import Settings
    from headrace.stores.move import Mover, Target
    from headrace.stores.urls import shown_url

    to = shown_url(url)
    say = output.note if as_json else output.line
    with _source(path, moved=True) as source:
        async with Target.opened(url) as target:
            others = await target.others()
            teller = Teller(say, to, grace_s)
            mover = Mover(
                source,
                target,
                SystemClock(),
                to=to,
                grace_s=grace_s,
                replay_retention_s=Settings().idempotency_retention_s,
                tell=teller,
            )
            if source.moved_to is None:
                _quietly(say, f"moving {path} to {to}")
            moved = await mover.run()
    if as_json:
        output.write_json(_summary(path, moved))
    else:
        _report(path, moved)
    if others and teller.began:
        output.note(
            f"headrace: {others} sessions had the target open before the move began: start those processes again, since"
            " they know neither the file's signing secret nor its positions"
        )
    return 0


async def _abort(path: Path, url: str | None, *, as_json: bool) -> int:
    from headrace.stores.move import give_up
    from headrace.stores.urls import shown_url

    with _source(path, moved=False) as source:
        if url is None:
            record = source.record
            there = await give_up(source, None)
            kept = record.to if record is not None else None
        else:
            from headrace.stores.move import Target

            async with Target.opened(url) as target:
                there = await give_up(source, target)
            kept = None
    if as_json:
        output.write_json({"aborted": there, "from": str(path), "target_emptied": shown_url(url) if url else None})
    elif not there:
        output.line(f"no move of {path} is under way")
    else:
        output.line(f"the move of {path} is given up; the file goes on")
        if kept is not None:
            output.line(f"{kept} is still closed, and holds what was copied: name it as POSTGRES_URL too to empty it")
    return 0


class Teller:
    """Says where a move is, a line now and then."""

    def __init__(self, say: Callable[[str], None], to: str, grace_s: float) -> None:
        """`say` prints a line."""
        self._say = say
        self._to = to
        self._grace_s = grace_s
        self._tenth: dict[str, int] = {}
        self.began = False  # the move, just now, and was not taken up again

    def __call__(self, stage: "Stage") -> None:
        """Hear of a stage."""
        self.began = self.began or stage.name == "begun"
        text = self._text(stage)
        if text:
            _quietly(self._say, text)

    def _text(self, stage: "Stage") -> str:
        done, total = stage.done, stage.total
        if stage.name in {"history", "live"}:
            tenth = 10 * done // max(total, 1)
            if not total or tenth == self._tenth.get(stage.name, 0):
                return ""
            self._tenth[stage.name] = tenth
        attempts = f"{done} attempt{'s' * (done != 1)}"
        waits = f"; {attempts} may go on for {self._grace_s:g} s" if done else ""
        return {
            "resumed": "going on where it was interrupted",
            "history": f"copied {done:,} of {total:,} ended jobs",
            "live": f"copied {done:,} of {total:,} live jobs",
            "held": f"claims are held{waits}",
            "running": f"still running: {attempts}",
            "given back": f"gave back {attempts} that did not end",
            "suspects": f"suspects, which run again: {done} of dead workers",
            "rehearsed": "the copy has what the file has; now the rest",
            "stopped": "writes are stopped",
            "compared": "both sides have the same",
        }.get(stage.name, "")


def _quietly(say: Callable[[str], None], text: str) -> None:
    """A pipe that nobody reads any more does not end a move."""
    with contextlib.suppress(OSError):
        say(text)


def _summary(path: Path, moved: "Moved") -> dict[str, Any]:
    return {
        "from": str(path),
        "to": moved.to,
        "already": moved.already,
        "moved": moved.counts,
        "given_back": moved.given_back,
        "suspects": moved.suspects,
        "seconds": {
            "total": round(moved.total_s, 3),
            "claims_held": round(moved.claims_held_s, 3),
            "writes_stopped": round(moved.writes_stopped_s, 3),
        },
    }


def _report(path: Path, moved: "Moved") -> None:
    from headrace.core.states import JobState

    if moved.already:
        output.line(f"{path} has moved to {moved.to} before; nothing to do")
        return
    jobs = {state.value: count for state in JobState if (count := moved.counts.get(state.value))}
    said = ", ".join(f"{count:,} {state}" for state, count in jobs.items()) or "none"
    output.line(
        f"moved {sum(jobs.values()):,} jobs ({said}) in {moved.total_s:.1f} s; claims were held for "
        f"{moved.claims_held_s:.2f} s, writes stopped for {moved.writes_stopped_s:.2f} s"
    )
    output.line(f"set HEADRACE_STORE={moved.to} and start API and workers again")
