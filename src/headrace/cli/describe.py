"""What an APP is made of, found out in a process of its own: `python -m headrace.cli.describe APP`.

A supervisor must not import the user's module, and yet has to know its store and whether it has a task.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from headrace.cli.fail import Fail
from headrace.runtime.process import PARENT_PID, die_with_parent

if TYPE_CHECKING:
    from headrace.app import Headrace

FD: Final = "HEADRACE_DESCRIBE_FD"


class Described(BaseModel):
    """What the supervisor needs to know."""

    model_config = ConfigDict(frozen=True)

    settings: dict[str, Any]  # without the secrets
    tasks: dict[str, str]  # name -> queue
    troubles: dict[str, str] = {}  # queue -> why a source for it could never begin


class AppFailed(Fail):
    """APP did not load; the process that tried has said why on stderr."""


def describe(target: str, app_dir: str, *, quiet: bool = False) -> Described:
    """Load APP in another process, and read what it found.

    What the module prints is shown by the processes that run it; here only why it did not load, and where `quiet`
    says that another process of the tree tells the same, not even that.

    Raises:
        AppFailed: it did not load.
    """
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "headrace.cli.describe", target, app_dir]
    with os.fdopen(reader, "rb") as told, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(  # noqa: S603 - our own program
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            pass_fds=(writer,),
            env={**os.environ, FD: str(writer), PARENT_PID: str(os.getpid())},
        )
        os.close(writer)
        text = told.read()
        code = process.wait()
        if code == 0 and text:
            return Described.model_validate_json(text)
        complaints.seek(0)
        said = "" if quiet else complaints.read().decode(errors="replace")
    raise AppFailed("", code=code if code > 0 else 1, detail=said)


def _troubles(hr: "Headrace") -> Iterator[tuple[str, str]]:
    """By queue, why a source of a task of it could never begin."""
    from headrace.core.errors import InvalidConfig

    for found in hr.sources:
        try:
            hr.brokers.source(found.address, found.name)
        except InvalidConfig as error:
            yield found.task.queue, f"{found.name}: {error}"


def _main(target: str, app_dir: str) -> None:
    """Load, and write what was found to the descriptor that the parent reads."""
    fd = int(os.environ.pop(FD))
    os.set_inheritable(fd, False)  # the parent reads until its end
    die_with_parent()
    from headrace.cli.load import load, put_on_path

    put_on_path(app_dir)
    hr = load(target).hr
    settings = hr.settings.model_dump(mode="json", exclude={"secret", "secret_previous"})
    tasks = {task.name: task.queue for task in hr.registry}
    troubles = {} if hr.settings.sources == "off" else dict(_troubles(hr))
    with os.fdopen(fd, "w", encoding="utf-8") as told:
        told.write(json.dumps({"settings": settings, "tasks": tasks, "troubles": troubles}))


if __name__ == "__main__":
    from headrace.cli import guarded

    ended = guarded(lambda: _main(*sys.argv[1:]))
    sys.stderr.flush()
    os._exit(ended if isinstance(ended, int) else 0)  # whatever threads the module has left running
