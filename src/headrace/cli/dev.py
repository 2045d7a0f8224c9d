"""`headrace dev`: API and worker of an app under development, started anew when its code changes."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.reach import run
from headrace.cli.run import app_dir_option

if TYPE_CHECKING:
    import socket

    from headrace.cli.tree import Tree

DEBOUNCE_MS: Final = 300
GRACE_S: Final = "1"


@click.command("dev")
@click.argument("target", metavar="APP")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--reload-dir", "folders", multiple=True, metavar="DIR", help="Watch this one.  [default: --app-dir]")
@app_dir_option
def dev_command(*, target: str, port: int, folders: tuple[str, ...], app_dir: str) -> int:
    """The API and a worker of APP, started anew on every change of its code.

    Without auth, and so on 127.0.0.1 only. The port stays open meanwhile: a request during a reload waits.
    """
    from headrace.cli.sockets import address, listen

    watched = [Path(folder) for folder in folders or (app_dir,)]
    for folder in watched:
        if not folder.is_dir():
            raise Fail(f"there is no directory {folder}", "name one that is there with --reload-dir", code=2)
    listening = listen("127.0.0.1", port)
    output.note(f"headrace: {address(listening)} serves {target}, without auth; Ctrl-C ends it")
    with listening:
        return run(_develop(target, app_dir, watched, listening))


async def _develop(target: str, app_dir: str, watched: list[Path], listening: "socket.socket") -> int:
    from headrace.cli.tree import Tree

    async with Tree({"HEADRACE_AUTH": "off"}) as tree:
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(watched, changed, tree.stop))
            while not tree.stop.is_set():
                changed.clear()
                tree.start("serve", target, f"--app-dir={app_dir}", listening=listening)
                tree.start("worker", target, f"--app-dir={app_dir}", f"--grace={GRACE_S}")
                await _until_changed(tree, changed)
                await tree.end()
            watching.cancel()
    return 0


async def _until_changed(tree: "Tree", changed: asyncio.Event) -> None:
    """Return when code changed or a stop was asked for; children that end meanwhile stay ended."""
    async with asyncio.TaskGroup() as group:
        tasks = {group.create_task(event.wait()) for event in (changed, tree.stop)}
        ended = group.create_task(tree.until_stopped_or_ended())
        await asyncio.wait({*tasks, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not changed.is_set() and not tree.stop.is_set():
            output.note("headrace: it ended; waiting for a change of the code")
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, ended):
            task.cancel()


async def _watch(watched: list[Path], changed: asyncio.Event, stop: asyncio.Event) -> None:
    import watchfiles

    watch: Any = vars(watchfiles)["awatch"]  # its type names trio's, which is not installed
    changed_files = watch(*watched, watch_filter=watchfiles.PythonFilter(), debounce=DEBOUNCE_MS, stop_event=stop)
    async for changes in changed_files:
        names = sorted({Path(path).name for _, path in changes})
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        output.note(f"headrace: {names[0]}{more} changed; starting anew")
        changed.set()
