"""The command line: `headrace`.

Invariant: nothing is imported before a command needs it, and what goes wrong ends as one line on stderr, never as a
traceback of ours.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, cast

import click

from headrace.cli.fail import Fail

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Try it": {
        "demo": "the photo lab, in your browser",
        "dev": "API, worker and reload on this machine, without auth",
    },
    "Run it": {
        "serve": "the API and the live feed",
        "worker": "run jobs, under a supervisor",
        "migrate": "bring the store's schema up to date",
        "move": "take all jobs from SQLite to PostgreSQL",
    },
    "Look": {
        "jobs": "list, show, retry, cancel",
        "queues": "what waits where; pause, resume",
        "sources": "who takes messages from where, what waits; reset a bookmark",
        "sinks": "what waits for which broker, what was refused; retry, drop",
        "upstreams": "what is open, since when; open, close, disable by hand",
        "webhooks": "what endpoints answer; their secrets; enable, replay",
        "workers": "who runs jobs, and which version",
        "tail": "follow one job live",
        "doctor": "what is wrong here, and the command that mends it",
    },
    "Set up": {
        "keys": "API keys: create, list, revoke",
        "settings": "every HEADRACE_* setting and its value",
    },
}
HOMES: Final = {"serve": "run", "worker": "run", "dev": "dev", "workers": "queues"}
"""The module of a command, where it is not its name."""

COMPLETE: Final = "_HEADRACE_COMPLETE"
"""Set by the completion script that `_HEADRACE_COMPLETE=bash_source headrace` prints."""

INTERRUPTED: Final = 128 + signal.SIGINT


class Program(click.Group):
    """The commands by name, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, in the order of the overview."""
        return [name for section in SECTIONS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and take the command out of it."""
        import importlib

        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"headrace.cli.{HOMES.get(cmd_name, cmd_name)}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)  # noqa: S101 - the table above and the modules agree
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, without importing a command."""
        width = max(map(len, self.list_commands(ctx)))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), about) for name, about in commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for a mistyped one."""
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if near and not args[0].startswith("-"):
                raise Fail(f"there is no command {args[0]!r}", f"did you mean {near[0]!r}?", code=2) from error
            raise


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"headrace {version('headrace')}")
        ctx.exit()


@click.command(
    cls=Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="APP is module:attribute, a FastAPI app or a Headrace, as in shop:app. headrace COMMAND --help says more.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="And exit.")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Durable background jobs for FastAPI that you can watch live."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 it did not work, 2 it was asked for wrongly."""
    sys.exit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    if COMPLETE in os.environ:
        program.main(prog_name="headrace")  # prints what a shell completes, and exits
    code = guarded(lambda: _invoke(sys.argv[1:] if args is None else args))
    return code if isinstance(code, int) else 0


def _invoke(args: Sequence[str]) -> object:
    with program.make_context("headrace", list(args)) as ctx:
        return program.invoke(ctx)


def guarded(work: Callable[[], object]) -> object:
    """Do it; where it does not end well, say so in one line, and answer with the exit code."""
    try:
        answer = work()
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the last net
        return _ended(error)
    return answer


def _ended(error: BaseException) -> int:
    """What to say, and the exit code, when a command did not return."""
    text, code = "", INTERRUPTED
    match error:
        case SystemExit() | GeneratorExit():
            raise error
        case click.exceptions.Exit():
            code = error.exit_code
        case click.Abort() | KeyboardInterrupt():
            pass
        case click.UsageError():
            text, code = _usage(error), 2
        case click.ClickException():
            text, code = _sentence(error.format_message()), 1
        case BrokenPipeError():  # `headrace jobs list | head`; Python must not flush into it at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        case Fail():
            if error.detail:
                click.echo(error.detail.rstrip("\n"), err=True)
            text, code = str(error), error.code
        case _:
            return _unexpected(error)
    return _complain(text, code)


def _usage(error: click.UsageError) -> str:
    """A usage error of click's in our words."""
    path = error.ctx.command_path if error.ctx is not None else "headrace"
    if isinstance(error, click.NoSuchOption):
        near = f"did you mean {error.possibilities[0]}?" if error.possibilities else f"see {path} --help"
        return f"there is no option {error.option_name}; {near}"
    return f"{_sentence(error.format_message())}; see {path} --help"


def _unexpected(error: BaseException) -> int:
    from headrace.core.errors import HeadraceError

    if os.environ.get("HEADRACE_LOG_LEVEL", "").lower() == "debug":
        import traceback

        traceback.print_exception(error)
    if isinstance(error, BaseExceptionGroup):
        return _ended(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, HeadraceError):
        return _complain(str(error), 1)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _complain(f"this should not happen: {said}; HEADRACE_LOG_LEVEL=debug shows where", 1)


def _complain(text: str, code: int) -> int:
    if text:
        click.echo(f"headrace: {' '.join(text.split())}", err=True)
    return code


def _sentence(text: str) -> str:
    """Click's sentence in the form of ours: small first letter, no full stop."""
    text = text.rstrip(".")
    return text[:1].lower() + text[1:]
