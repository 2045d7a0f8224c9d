"""`headrace demo`: the photo lab, an API, a worker on SQLite and a print shop that fails, in the browser."""

import asyncio
import importlib.util
import json
import os
import socket
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.reach import run

if TYPE_CHECKING:
    from headrace.cli.tree import Tree

PORT: Final = 8000
PORTS_TRIED: Final = 20
ANSWER_S: Final = 30.0
LIVE: Final = "/headrace/health/live"
NAME_MAX: Final = 200
DATA: Final = ".headrace-demo"
PHOTOS: Final = (".jpg", ".jpeg", ".png", ".webp")
IN_WHEEL, IN_REPOSITORY = "headrace.examples.photo_lab", "examples.photo_lab"


@click.command("demo")
@click.option("--port", type=click.IntRange(0, 65_535), help=f"Default: {PORT}, or the next that is free.")
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Drop the JPEG, PNG and WebP files of this directory into the page.",
)
@click.option("--seed-photos", is_flag=True, help="Drop pictures that the demo paints itself.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def demo_command(*, port: int | None, photos: Path | None, seed_photos: bool, no_browser: bool) -> int:
    """The photo lab: drop a photograph into the page, and kill the worker while it is developed.

    An API, a supervised worker and a print shop that can be broken, on this machine only. Photos and jobs are kept in
    .headrace-demo, so that the next start shows them again; where HEADRACE_STORE names a store, the jobs are kept
    there. Ctrl-C ends it.
    """
    for module, name in (("PIL", "Pillow"), ("httpx", "httpx")):
        if importlib.util.find_spec(module) is None:
            raise Fail(f"the photo lab needs {name}", "`pip install 'headrace[demo]'`")
    from headrace.cli.sockets import address

    lab = _find_lab()
    with _bind(port) as listening, _bind(0) as shop, _data() as data:
        env = {
            "HEADRACE_AUTH": "off",
            "HEADRACE_STORE": os.environ.get("HEADRACE_STORE") or f"sqlite:///{data / 'lab.db'}",
            "HEADRACE_LOG_LEVEL": os.environ.get("HEADRACE_LOG_LEVEL", "warning"),
            "PHOTO_LAB_DATA": str(data),
            "PHOTO_LAB_SHOP": address(shop),
        }
        work = _show(
            env, lab, (listening, shop), _photos(photos), seed=seed_photos, browser=not no_browser and has_display()
        )
        return run(work)


async def _show(
    env: dict[str, str],
    lab: "_Lab",
    sockets: tuple[socket.socket, socket.socket],
    photos: list[Path],
    *,
    seed: bool,
    browser: bool,
) -> int:
    from headrace.cli.sockets import address
    from headrace.cli.tree import Tree

    listening, shop = sockets
    url = address(listening)
    app = (f"{lab.module}.app:app", f"--app-dir={lab.root}")
    async with Tree(env) as tree:
        tree.start_program(sys.executable, "-P", str(lab.folder / "shop.py"), listening=shop)
        tree.start("serve", *app, "--no-access-log", listening=listening)
        tree.start("worker", *app, "--grace=2")
        if await _is_up(tree, url):
            output.line(f"The photo lab is on {url}")
            output.line("Drop a photo into the page, or kill its worker and watch it go on. Ctrl-C ends the demo.")
            sys.stdout.flush()
            if browser:
                import webbrowser

                await asyncio.to_thread(webbrowser.open, url)
            if seed:
                await asyncio.to_thread(_post, f"{url}/lab/samples", b"")
            await _drop_all(tree, url, photos)
        ended = await tree.until_stopped_or_ended()
        return 0 if ended is None else (await ended.wait() or 1)


async def _is_up(tree: "Tree", url: str) -> bool:
    """Wait until the API answers; False: a process ended before, or a stop was asked for."""
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(_answers(url))
        ended = group.create_task(tree.until_stopped_or_ended())
        await asyncio.wait({answer, ended}, return_when=asyncio.FIRST_COMPLETED)
        up = answer.done()
        answer.cancel()
        ended.cancel()
    return up


async def _answers(url: str) -> None:
    """Return when the API answers; the socket listens before, so a request just waits in its line."""
    place = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(f"GET {LIVE} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
        await reader.readline()
    finally:
        writer.close()


def _photos(folder: Path | None) -> list[Path]:
    """The photos in a directory."""
    if folder is None:
        return []
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOS and path.is_file())
    if not found:
        raise Fail(f"there is no JPEG, PNG or WebP file in {folder}", "name another directory with --photos", code=2)
    return found


async def _drop_all(tree: "Tree", url: str, photos: list[Path]) -> None:
    """Drop photos, one after the other; one that is refused does not stop the rest."""
    for path in photos:
        if tree.stop.is_set():
            return
        refused = await asyncio.to_thread(_drop, url, path)
        if refused:
            output.note(f"headrace: {path.name}: {refused}")


def _drop(url: str, path: Path) -> str:
    name = urllib.parse.quote(path.name[:NAME_MAX])
    return _post(f"{url}/lab/photos?name={name}", path.read_bytes())


def _post(url: str, body: bytes) -> str:
    """Send it; what the answer complains of, empty if it does not."""
    request = urllib.request.Request(url, data=body, method="POST")  # noqa: S310 - our own server
    request.add_header("Content-Type", "application/octet-stream")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S):  # noqa: S310 - our own server
            return ""
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace")
        try:
            return str(json.loads(text)["detail"])
        except (ValueError, KeyError, TypeError):
            return f"HTTP {error.code}"
    except OSError as error:
        return str(error)


class _Lab(NamedTuple):
    """Where the photo lab is: its module, the directory to find that from, and its own."""

    module: str
    root: Path
    folder: Path


def _find_lab() -> _Lab:
    """In the wheel, or in the repository."""
    package = Path(__file__).resolve().parents[1]
    root = package.parents[1]
    for lab in (
        _Lab(IN_WHEEL, Path(), package / "examples" / "photo_lab"),
        _Lab(IN_REPOSITORY, root, root / "examples" / "photo_lab"),
    ):
        if (lab.folder / "app.py").is_file():
            return lab
    raise Fail("the photo lab is not part of this installation", "install headrace from its wheel, or clone it")


def _bind(port: int | None) -> socket.socket:
    """The port asked for, or the first free one from the usual one on."""
    from headrace.cli.sockets import listen

    if port is not None:
        return listen("127.0.0.1", port)
    for number in range(PORT, PORT + PORTS_TRIED):
        with suppress(Fail):
            return listen("127.0.0.1", number)
    return listen("127.0.0.1", 0)


@contextmanager
def _data() -> Generator[Path]:
    """Where photos and jobs are kept; where the current directory is read-only, a temporary one."""
    here = Path(DATA).absolute()
    try:
        here.mkdir(exist_ok=True)
        (here / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError:
        with tempfile.TemporaryDirectory(prefix="headrace-demo-") as folder:
            yield Path(folder)
    else:
        yield here


def has_display() -> bool:
    """Whether a browser opened here would be seen by whoever typed the command."""
    if os.environ.get("SSH_CONNECTION") and not os.environ.get("DISPLAY"):
        return False
    if sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
