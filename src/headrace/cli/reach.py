"""How a command that is no server reaches the store: by URL, or by the APP that names it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from headrace.cli.fail import Fail

if TYPE_CHECKING:
    from headrace.app import Headrace

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Where:
    """Which store is meant; without a URL and an APP, `HEADRACE_STORE` or its default."""

    url: str | None = None
    target: str | None = None
    app_dir: str = "."

    def headrace(self) -> "Headrace":
        """The Headrace of the APP, or one without tasks on the store."""
        from headrace.cli.load import load, put_on_path

        if self.target is not None:
            put_on_path(self.app_dir)
            return load(self.target).hr
        from headrace.app import Headrace

        return Headrace(self.url)


def store_options(command: Callable[Concatenate[Where, P], R]) -> Callable[P, R]:
    """`--store` and `--app`; the command gets them first, as one `Where`."""

    def gathered(*args: P.args, **given: P.kwargs) -> R:
        rest: dict[str, Any] = dict(given)
        where = Where(rest.pop("store"), rest.pop("app"), rest.pop("app_dir"))
        if where.url is not None and where.target is not None:
            raise click.UsageError("--store and --app both name the store; give one")
        return command(where, *args, **rest)

    made: Any = update_wrapper(gathered, command)
    made = click.option(
        "--app-dir", default=".", show_default=True, metavar="DIR", help="Where the module of APP is found."
    )(made)
    made = click.option("--app", metavar="APP", help="Take the store of this app.")(made)
    made = click.option(
        "--store", metavar="URL", help="The store; default $HEADRACE_STORE, else sqlite:///headrace.db."
    )(made)
    finished: Callable[P, R] = made
    return finished


@asynccontextmanager
async def opened(where: Where) -> AsyncGenerator["Headrace"]:
    """The store, open, for the length of a command; never makes a database that was not there.

    Raises:
        Fail: there is no such database, or the store lives in the memory of another process.
    """
    hr = where.headrace()
    url = hr.settings.store
    if url.startswith("memory:"):
        raise Fail("the store is memory://, which lives and ends with its own process", "name another with --store")
    path = sqlite_path(url)
    if path is not None and not path.exists():
        raise Fail(
            f"there is no database at {path}",
            "name another with --store, take an app's with --app, or make one with `headrace migrate`",
        )
    await _refuse_empty(url)
    await hr.open()
    try:
        yield hr
    finally:
        await hr.close()


async def _refuse_empty(url: str) -> None:
    """A command that only looks makes no tables, as opening a store without any would."""
    from headrace.stores.urls import POSTGRES, shown_url

    if not url.startswith(POSTGRES):
        return
    from headrace.stores.postgres.migrating import plan_database

    if not (await plan_database(url)).found:
        raise Fail(
            f"there are no headrace tables in {shown_url(url)}",
            "name another with --store, take an app's with --app, or make them with `headrace migrate`",
        )


def sqlite_path(url: str) -> Path | None:
    """The file behind a `sqlite:///` URL; None for other stores."""
    from headrace.stores.urls import SQLITE

    if not url.startswith(SQLITE):
        return None
    return Path(url.removeprefix(SQLITE).partition("?")[0]).absolute()


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run a command's coroutine to its end."""
    with asyncio.Runner() as runner:
        return runner.run(work)


def waits(command: Callable[P, Awaitable[R]]) -> Callable[P, R]:
    """Make a click command of a coroutine function."""

    async def whole(*args: P.args, **given: P.kwargs) -> R:
        return await command(*args, **given)

    def entered(*args: P.args, **given: P.kwargs) -> R:
        return run(whole(*args, **given))

    return update_wrapper(entered, command)
