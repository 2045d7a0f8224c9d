"""How a connection to a bell is kept, on one that is made up."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from headrace.core.errors import NotifierError
from headrace.notifiers import keeper, talk
from headrace.notifiers.keeper import WINDOW, why
from headrace.notifiers.kept import KeptNotifier
from headrace.notifiers.outbox import read
from headrace.notifiers.talk import Talk
from tests.unit.notifiers.ear import Ear


class Server:
    """A bell in this process: carries what is said to every line, unless it was told to lose it."""

    def __init__(self) -> None:
        self.lines: list[FakeLine] = []
        self.said: list[str] = []  # what went over it, probes left out
        self.away: Exception | None = None
        self.loses: Callable[[str], bool] = lambda _: False

    def carry(self, text: str) -> None:
        if "?" not in text:
            self.said.append(text.split(" ", 2)[2])
        if not self.loses(text):
            for line in self.lines:
                line.talk.take(text)


class FakeLine:
    deaf = ""

    def __init__(self, server: Server, talk: Talk) -> None:
        self.server, self.talk = server, talk
        self.stuck = False
        server.lines.append(self)

    async def say(self, text: str) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.server.carry(text)

    async def hears(self) -> float | None:
        return await self.talk.answers(self.say)

    async def close(self) -> None:
        self.server.lines.remove(self)


class Fake(KeptNotifier):
    def __init__(self, server: Server) -> None:
        super().__init__("fake", rng=random.Random(7))
        self._server = server

    async def _open(self, talk: Talk) -> FakeLine:
        if self._server.away is not None:
            raise self._server.away
        return FakeLine(self._server, talk)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "probe_every_s", 60.0)
    monkeypatch.setattr(talk, "ECHO_S", 0.05)
    monkeypatch.setattr(keeper, "STEP_S", 0.02)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def pair(server: Server) -> AsyncIterator[tuple[Fake, Fake]]:
    both = Fake(server), Fake(server)
    for each in both:
        await each.start()
        await until(lambda each=each: each.working)
    yield both
    for each in both:
        await each.stop()
    assert server.lines == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what others have done
            await asyncio.sleep(0)


async def test_no_more_messages_are_out_than_the_window(server: Server, pair: tuple[Fake, Fake]) -> None:
    one, other = pair
    ear = Ear()
    other.subscribe(("queue:",), ear)
    kept: list[str] = []
    most = 0

    def keeps(text: str) -> bool:  # the bell carries, in its time
        nonlocal most
        if "?" in text:
            return False
        kept.append(text)
        most = max(most, len(kept))
        return True

    async def carries() -> None:
        while True:
            await asyncio.sleep(0.01)
            if kept:
                text = kept.pop(0)
                for line in server.lines:
                    line.talk.take(text)

    server.loses = keeps
    carrying = asyncio.get_running_loop().create_task(carries())
    for number in range(400):
        one.publish([f"queue:{number}"])
        await asyncio.sleep(0.001)
    one.publish(["queue:last"])
    await until(lambda: "queue:last" in ear.heard or "queue:*" in ear.heard)
    carrying.cancel()
    assert most == WINDOW
    told = set[str]().union(*(read(message) for message in server.said))
    assert told >= {f"queue:{number}" for number in range(400)} or "queue:*" in told


async def test_a_bell_that_loses_every_echo_of_hints_slows_down_and_does_not_fall_silent(
    server: Server, pair: tuple[Fake, Fake]
) -> None:
    one, _ = pair
    server.loses = lambda text: "?" not in text
    for number in range(WINDOW + 3):
        before = len(server.said)
        one.publish([f"queue:{number}"])
        await until(lambda before=before: len(server.said) > before)
    assert server.said == [f"queue:{number}" for number in range(WINDOW + 3)]
    assert one.working  # probes come back
    await until(lambda: server.lines[0].talk.out < WINDOW)  # and what was lost before them is no longer out


async def test_a_missing_echo_is_a_reason_to_probe_at_once(server: Server, pair: tuple[Fake, Fake]) -> None:
    one, _ = pair
    ear = Ear()
    one.subscribe(("job:",), ear)
    server.loses = lambda _: True
    for number in range(WINDOW + 1):
        before = len(server.said)
        one.publish([f"queue:{number}"])
        await until(lambda before=before: len(server.said) > before)
    await until(lambda: not one.working)  # though the next probe was due in a minute
    await ear.hears("job:*")


async def test_what_was_taken_by_a_line_that_died_is_said_by_the_next(server: Server, pair: tuple[Fake, Fake]) -> None:
    one, other = pair
    ear = Ear()
    other.subscribe(("queue:",), ear)
    mine = server.lines[0]
    mine.stuck = True
    one.publish(["queue:mail"])
    await asyncio.sleep(0.01)
    mine.talk.end()
    await ear.hears("queue:mail")
    await until(lambda: one.working)


async def test_health_tells_the_echo_and_the_trouble(server: Server) -> None:
    one = Fake(server)
    assert (one.health.working, one.health.trouble) == (False, "not started")
    server.away = NotifierError("fake://host refuses user and password")
    await one.start()
    await until(lambda: one.health.trouble == "fake://host refuses user and password")
    server.away = None
    await until(lambda: one.working)
    assert one.health.trouble is None
    assert one.health.echo_s is not None
    server.lines[0].talk.end()
    await until(lambda: not one.working)
    assert one.health.echo_s is None
    await until(lambda: one.health.trouble == "the server has closed it")
    await one.stop()


async def test_a_bell_that_takes_everything_and_gives_nothing_back_is_left(server: Server) -> None:
    server.loses = lambda _: True
    one = Fake(server)
    await one.start()
    await until(lambda: "does not come back" in (one.health.trouble or ""))
    assert not one.working
    await one.stop()
    assert server.lines == []


async def test_what_others_say_on_the_bell_does_no_harm(server: Server, pair: tuple[Fake, Fake]) -> None:
    one, _ = pair
    ear = Ear()
    one.subscribe(("",), ear)
    mine, texts = server.lines[0].talk, list[str]()

    async def keep(text: str) -> None:
        texts.append(text)

    await mine.say(keep, "cancel")
    own = texts[0].split()[0]
    for text in ("", "someone", "someone #", f"someone #{'9' * 5_000} cancel", f"{own} #99999 x", f"{own} ?other"):
        mine.take(text)
    assert mine.out == 0
    one.publish(["queue:mail"])
    await ear.hears("queue:mail")
    assert ear.heard <= {"queue:mail", "cancel", "#", f"#{'9' * 5_000}"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("too many connections"), "'too many connections'"),
        (OSError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (TimeoutError(), "TimeoutError"),
        (NotifierError("it is gone"), "it is gone"),
        (ValueError("postgresql://user:secret@host is wrong"), "ValueError"),
        (ExceptionGroup("two", [KeyError("first"), ValueError("second")]), "'first'"),
    ],
)
def test_an_error_is_told_without_what_may_be_a_password(error: Exception, words: str) -> None:
    assert why(error, (KeyError,)) == words


async def test_a_client_that_takes_a_cancel_for_its_own_does_not_keep_a_stop_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FLUSH_S", 0.02)
    opening = asyncio.Event()

    class Swallows(Fake):
        async def _open(self, talk: Talk) -> FakeLine:
            opening.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return await super()._open(talk)

    notifier = Swallows(server)
    await notifier.start()
    await opening.wait()
    async with asyncio.timeout(5):
        await notifier.stop()
    assert server.lines == []
