"""The table of commands, the modules and the reference page agree; the overview imports next to nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from headrace.cli import SECTIONS, main, program

ROOT = Path(__file__).resolve().parents[3]
NAMES = [name for section in SECTIONS.values() for name in section]
HEAVY = {"fastapi", "starlette", "pydantic", "rich", "uvicorn", "sqlite3", "asyncio", "jwt", "watchfiles"}


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group) and path != "headrace":
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")


def found(name: str) -> click.Command:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    return command


EVERY = [each for name in NAMES for each in commands(found(name), f"headrace {name}")]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_the_overview_is_there(name: str) -> None:
    assert found(name).name == name


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_every_command_and_option_explains_itself(path: str, command: click.Command) -> None:
    assert command.help
    silent = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    ]
    assert silent == []


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_the_reference_names_every_command_and_option(path: str, command: click.Command) -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    assert f"`{path}" in page
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert [option.opts[0] for option in options if f"`{option.opts[0]}" not in page] == []


def test_the_overview_imports_nothing_heavy() -> None:
    code = "import sys; from headrace.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.splitlines()[-1].split()) == set()


def ended(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(args)
    told = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, told.out, told.err


def test_alone_it_prints_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys)
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in NAMES)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ended(capsys, "--version")
    assert code == 0
    assert out.startswith("headrace ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("wroker",), "headrace: there is no command 'wroker'; did you mean 'worker'?"),
        (("xyzzy",), "headrace: no such command 'xyzzy'; see headrace --help"),
        (("jobs", "list", "--xyzzy"), "headrace: there is no option --xyzzy; see headrace jobs list --help"),
        (("jobs", "--limt", "3"), "headrace: there is no option --limt; did you mean --limit?"),
        (("jobs", "show", "7"), "headrace: invalid value for 'JOB': '7' is no job id; `headrace jobs list` shows them"),
        (("serve",), "headrace: missing argument 'APP'; see headrace serve --help"),
        (("jobs", "retry"), "headrace: name jobs, or say which with --task"),
        (("jobs", "--store", "sqlite:///a", "--app", "b:c"), "headrace: --store and --app both name the store"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(args: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith(said)
    assert err.count("\n") == 1
