"""`headrace serve` and `headrace worker`."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.reach import run

if TYPE_CHECKING:
    import uvicorn

    from headrace.cli.describe import Described
    from headrace.settings import Settings

STREAMS_GRACE_S: Final = 3
"""How long open streams may take to end when the API stops; they are resumed elsewhere from their position."""
CALLERS_GRACE_S: Final = 0.1
"""How long a connection that was just taken has to bring its request when the API stops."""

app_dir_option = click.option(
    "--app-dir", default=".", show_default=True, metavar="DIR", help="Where the module of APP is found."
)
tied_option = click.option("--tied", is_flag=True, hidden=True, help="End with the process that started this one.")


@click.command("serve")
@click.argument("target", metavar="APP")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--access-log/--no-access-log", default=True, help="One log line per request.")
@click.option("--fd", type=int, hidden=True, help="A listening socket from the process that started this one.")
@app_dir_option
@tied_option
def serve_command(
    *, target: str, host: str, port: int, access_log: bool, fd: int | None, app_dir: str, tied: bool
) -> int:
    """The API and the live feed of APP.

    SIGTERM and Ctrl-C end it when the requests under way are answered; a second one at once.
    """
    from headrace.cli.sockets import address, listen

    _begin(tied=tied)
    app, settings, prefix = _served(target, app_dir)
    _check_exposure(settings, host)
    run(_check_store(settings))
    listening = socket.socket(fileno=fd) if fd is not None else listen(host, port)
    if not tied:
        output.note(f"headrace: serving {target} on {address(listening)}; the jobs are under {prefix}/")
    server = _server(app, access_log=access_log, local=settings.auth == "off")
    server.run(sockets=[listening])
    return 0 if server.started else 1


def _served(target: str, app_dir: str) -> "tuple[Any, Settings, str]":
    """The FastAPI app to serve; a Headrace alone gets one of its own."""
    from headrace.cli.load import load, put_on_path
    from headrace.cli.log import to_stderr

    put_on_path(app_dir)
    loaded = load(target, whole=True)
    to_stderr(loaded.hr.settings.log_level)
    app = loaded.app
    if app is None:
        from fastapi import FastAPI

        app = FastAPI(title=target)
        loaded.hr.install(app)
    return app, loaded.hr.settings, loaded.hr.prefix


def _check_exposure(settings: "Settings", host: str) -> None:
    from headrace.cli.sockets import is_loopback

    if settings.auth == "off" and not is_loopback(host):
        raise Fail(
            f"auth is off, so this may not listen on {host}",
            "unset HEADRACE_AUTH, or listen on 127.0.0.1",
        )


async def _check_store(settings: "Settings") -> None:
    """Have a store that cannot be used told in one line, before a server would tell it in a traceback.

    One that is out of reach is no reason not to serve where there is a spool.
    """
    from headrace.app import Headrace

    hr = Headrace(settings=settings)
    try:
        await hr.reach()
    finally:
        await hr.close()


def _server(app: Any, *, access_log: bool, local: bool) -> "uvicorn.Server":
    """A uvicorn that ends with exit code 0 when it was asked to end."""
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for listener in self.servers:
                listener.close()
            await asyncio.sleep(CALLERS_GRACE_S)  # noqa: TID251 - of real sockets
            await super().shutdown(sockets)

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            asked = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self.handle_exit) for number in asked}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=access_log,
            proxy_headers=not local,  # without auth, who asks is judged by its address
            server_header=False,
            timeout_graceful_shutdown=STREAMS_GRACE_S,
        )
    )


def _names(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...]:
    names = tuple(name for name in (part.strip() for part in (text or "").split(",")) if name)
    if text is not None and not names:
        raise click.BadParameter("names no queue: leave it out for all of them")
    return names


@click.command("worker")
@click.argument("target", metavar="APP")
@click.option("--queues", callback=_names, metavar="A,B", help="Only jobs of these queues.  [default: all]")
@click.option("--concurrency", type=click.IntRange(1), help="Attempts of async tasks at a time, per process.")
@click.option("--threads", type=click.IntRange(1), help="Attempts of sync tasks at a time, per process.")
@click.option("--cpu-processes", type=click.IntRange(1), help="Attempts of cpu tasks at a time, per process.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--grace", type=click.FloatRange(0), metavar="SECONDS", help="What attempts get to end on SIGTERM.")
@click.option("--metrics-port", type=click.IntRange(0, 65_535), help="Answer GET /metrics here; 0 takes a free one.")
@click.option("--metrics-host", help="The address for it.  [default: 127.0.0.1]")
@app_dir_option
@tied_option
def worker_command(
    *, target: str, queues: tuple[str, ...], processes: int, grace: float | None, metrics_port: int | None,
    metrics_host: str | None, app_dir: str, tied: bool, **pools: int | None,
) -> int:  # fmt: skip
    """Run jobs of APP, under a supervisor that frees them at once when a process dies.

    SIGTERM and Ctrl-C: nothing new is claimed, running attempts get the grace to end, the rest is given back without
    burning an attempt. A second one ends it at once. What is not given comes from HEADRACE_CONCURRENCY and the like.
    """
    from headrace.cli.describe import describe
    from headrace.cli.log import to_stderr

    _begin(tied=tied)
    described = describe(target, app_dir, quiet=tied)
    settings = _settings(described, target, metrics_port=metrics_port, metrics_host=metrics_host)
    to_stderr(settings.log_level)
    _check_tasks(described, target, queues)
    listening = _metrics_socket(settings)
    options = ["--counting"] if listening is not None else []
    options += [f"--{name.replace('_', '-')}={value}" for name, value in pools.items() if value is not None]
    options += [f"--queues={','.join(queues)}"] if queues else []
    argv = [sys.executable, "-m", "headrace.cli.child", f"--app-dir={app_dir}", *options, target]
    grace_s = settings.grace_s if grace is None else grace
    return run(
        _supervised(
            settings,
            argv,
            processes,
            grace_s,
            lambda: None if tied else _announce(described, target, processes, listening),
            metrics=listening,
        )
    )


def _settings(described: "Described", target: str, **options: object) -> "Settings":
    """Those of APP, and over them what the command line gives."""
    from headrace.settings import Settings

    given = {name: value for name, value in options.items() if value is not None}
    settings = Settings(**{**described.settings, **given})
    if settings.store.startswith("memory:"):
        raise Fail(
            f"the store of {target} is memory://, which no other process can see",
            "use hr.install(app, workers=1), or a file: HEADRACE_STORE=sqlite:///headrace.db",
        )
    return settings


def _metrics_socket(settings: "Settings") -> socket.socket | None:
    """Where the metrics are answered, if they are to be."""
    from headrace.cli.metrics import check_installed
    from headrace.cli.sockets import listen

    if settings.metrics_port is None:
        return None
    check_installed()
    _check_exposure(settings, settings.metrics_host)
    return listen(settings.metrics_host, settings.metrics_port, "--metrics-port")


def _check_tasks(described: "Described", target: str, queues: tuple[str, ...]) -> None:
    if not described.tasks:
        raise Fail(
            f"{target} has no task, so a worker has nothing to run",
            "decorate a function with @hr.task, and import its module where APP is made",
        )
    for queue, trouble in described.troubles.items():
        if not queues or queue in queues:
            raise Fail(trouble, "or take no messages here: HEADRACE_SOURCES=off")
    homes = set(described.tasks.values())
    if queues and not homes & set(queues):
        output.note(
            f"headrace: no task of {target} has its home in {', '.join(queues)} (theirs: {', '.join(sorted(homes))});"
            " only jobs sent there with options(queue=…) will run"
        )


def _announce(described: "Described", target: str, processes: int, metrics: socket.socket | None) -> None:
    from headrace.cli.sockets import address
    from headrace.stores.urls import shown_url

    count = len(described.tasks)
    output.note(
        f"headrace: running jobs of {target}: {count} task{'s' * (count != 1)},"
        f" {processes} process{'es' * (processes != 1)}, store {shown_url(described.settings['store'])}"
    )
    if metrics is not None:
        output.note(f"headrace: their metrics are on {address(metrics)}/metrics")


async def _supervised(
    settings: "Settings",
    argv: list[str],
    processes: int,
    grace_s: float,
    announce: Callable[[], None],
    *,
    metrics: socket.socket | None,
) -> int:
    """Open the store in this process and stand above the children until told to stop."""
    from importlib.metadata import version

    from headrace.app import Headrace
    from headrace.cli.metrics import served
    from headrace.runtime.exec_child import ExecChild
    from headrace.runtime.supervisor import Supervisor

    hr = Headrace(settings.store, settings=settings)
    await hr.open()
    if metrics is not None:
        hr.services.metrics.begin()
    try:
        announce()
        supervisor = Supervisor(
            hr.store,
            hr.notifier,
            hr.clock,
            launch=partial(ExecChild, argv),
            version=version("headrace"),
            processes=processes,
            lease_s=settings.lease_s,
            grace_s=grace_s,
            kill_grace_s=settings.kill_grace_s,
            blocked_s=settings.blocked_loop_s,
            observer=hr.services.metrics.observer,
        )
        async with served(hr, supervisor, metrics):
            return await supervisor.run()
    finally:
        await hr.close()


def _begin(*, tied: bool) -> None:
    """Before anything of the user's is loaded."""
    if tied:
        from headrace.runtime.process import die_with_parent

        die_with_parent()
