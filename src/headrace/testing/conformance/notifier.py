"""What every notifier promises: `ports.notifier`, one sentence a test.

A bell may lose hints, so a test says them again until they are heard, where nothing else is promised.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

from headrace.ports.notifier import Hint, Notifier
from headrace.testing.bells import Ear

MakeNotifier: TypeAlias = Callable[[], Notifier]

ODD = 'queue:smith\'s \\ "sons" 100 % 北京'
JOB = f"job:{'a' * 32}"
PATIENCE_S = 20.0
PUBLISHES = 10_000
PUBLISHING_S = 2.0
STOP_S = 3.0
THREADS = 8


class Outage(Protocol):
    """What a test may do to the server behind a notifier; each returns when it is so, and blocks a thread meanwhile."""

    def cut(self) -> None:
        """Let it stand still: connections stay open, and nothing is answered."""
        ...

    def mend(self) -> None:
        """End that."""
        ...

    def down(self) -> None:
        """Kill it."""
        ...

    def up(self) -> None:
        """Start it where it was."""
        ...


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - other processes are asked
            await asyncio.sleep(0.005)


class NotifierConformance:
    """What holds for every notifier. Inherit it, or what follows, with a fixture.

    `make_notifier`: makes a notifier, at each call another process on one place that is the same for all of a test; the
    fixture stops them at the end.
    """

    rings = True
    """Hints reach listeners of the same process."""
    knows_working = False
    """`working` tells whether hints of others arrive; else it is False at all times."""

    async def test_publishing_before_the_start_and_after_the_end_does_no_harm(
        self, make_notifier: MakeNotifier
    ) -> None:
        """It reaches nobody, and raises nothing."""
        notifier = make_notifier()
        notifier.publish(["queue:mail"])
        await notifier.start()
        await notifier.stop()
        notifier.publish(["queue:mail"])
        await notifier.stop()

    async def test_it_starts_again_and_moves_to_another_loop(self, make_notifier: MakeNotifier) -> None:
        """A start on the loop on which it hears does nothing."""
        notifier, ear = make_notifier(), Ear()
        notifier.subscribe(("queue:",), ear)
        await asyncio.to_thread(asyncio.run, notifier.start())
        notifier.publish(["queue:lost"])  # its loop is closed
        for _ in range(2):
            await notifier.start()
            await notifier.start()
            if self.knows_working:
                await until(lambda: notifier.working)
            count = ear.times("queue:heard")
            notifier.publish(["queue:heard"])
            if self.rings:
                await ear.hears("queue:heard", times=count + 1)
            await notifier.stop()
        assert self.rings == bool(ear.calls)

    async def test_a_stop_leaves_no_task_behind_whenever_it_comes(self, make_notifier: MakeNotifier) -> None:
        """In the middle of a connect, of a probe, of a publish."""
        await asyncio.sleep(0.05)
        before = asyncio.all_tasks()
        for after_s in (0.0, 0.002, 0.01, 0.05):
            notifier = make_notifier()
            await notifier.start()
            await asyncio.sleep(after_s)
            notifier.publish(["queue:mail"])
            await notifier.stop()
            await until(lambda: asyncio.all_tasks() <= before)

    async def test_health_agrees_with_working(self, make_notifier: MakeNotifier) -> None:
        """And tells how long the probe took."""
        notifier = make_notifier()
        await notifier.start()
        assert notifier.health.kind
        if not self.knows_working:
            assert not notifier.working
            assert notifier.health.working is None
            return
        await until(lambda: notifier.working)
        health = notifier.health
        assert health.working
        assert health.trouble is None
        assert health.echo_s is not None
        assert 0 <= health.echo_s < PATIENCE_S
        await notifier.stop()
        assert not notifier.working


class SharedNotifierConformance(NotifierConformance):
    """What holds for a notifier that rings in other processes too.

    `make_stranger`: as `make_notifier`, on another place.
    """

    async def _pair(self, make: MakeNotifier) -> tuple[Notifier, Notifier]:
        """Two processes that hear, as far as that can be known."""
        one, other = make(), make()
        for each in (one, other):
            await each.start()
        if self.knows_working:
            await until(lambda: one.working and other.working)
        return one, other

    async def test_others_hear_by_prefix_and_who_rings_hears_it_once(self, make_notifier: MakeNotifier) -> None:
        """Names may have any character."""
        one, other = await self._pair(make_notifier)
        here, there = Ear(), Ear()
        one.subscribe(("queue:", "cancel"), here)
        other.subscribe(("queue:", JOB), there)
        one.publish([ODD, "cancel", JOB, f"job:{'b' * 32}"])
        await there.hears(ODD, JOB)
        assert there.heard == {ODD, JOB}
        other.publish(["queue:back"])
        await here.hears(ODD, "cancel", "queue:back")  # after it, an echo would have come
        assert here.calls == [{ODD, "cancel"}, {"queue:back"}]

    async def test_a_hint_for_a_whole_kind_is_for_all_who_want_any_of_it(self, make_notifier: MakeNotifier) -> None:
        """Though it does not start with what they asked for."""
        one, other = await self._pair(make_notifier)
        job, queue = Ear(), Ear()
        other.subscribe((JOB,), job)
        other.subscribe(("queue:mail",), queue)
        one.publish(["job:*", "queue:*"])
        await job.hears("job:*")
        await queue.hears("queue:*")

    async def test_a_subscription_ends(self, make_notifier: MakeNotifier) -> None:
        """And ends again."""
        one, other = await self._pair(make_notifier)
        ended, ear = Ear(), Ear()
        end = other.subscribe(("queue:",), ended)
        other.subscribe(("queue:",), ear)
        end()
        end()
        one.publish(["queue:mail"])
        await ear.hears("queue:mail")
        assert ended.calls == []

    async def test_publishing_works_from_any_thread(self, make_notifier: MakeNotifier) -> None:
        """Eight at a time."""
        one, other = await self._pair(make_notifier)
        ear = Ear()
        other.subscribe(("queue:",), ear)
        names = [f"queue:{number}" for number in range(THREADS)]
        threads = [threading.Thread(target=one.publish, args=([name],)) for name in names]
        for thread in threads:
            thread.start()
        await ear.hears(*names)
        for thread in threads:
            thread.join()

    async def test_a_burst_ends_with_everybody_having_been_rung(self, make_notifier: MakeNotifier) -> None:
        """However much was published: each queue by its name or by the hint for all."""
        one, other = await self._pair(make_notifier)
        ear = Ear()
        other.subscribe(("queue:",), ear)
        names = {f"queue:{number}" for number in range(1_000)}
        await asyncio.to_thread(_publish_all, one, sorted(names))
        await until(lambda: "queue:*" in ear.heard or ear.heard >= names)

    async def test_another_place_is_another_bell(
        self, make_notifier: MakeNotifier, make_stranger: MakeNotifier
    ) -> None:
        """Two fleets on one server never mix."""
        one, other = await self._pair(make_notifier)
        stranger, ear, known = make_stranger(), Ear(), Ear()
        await stranger.start()
        if self.knows_working:
            await until(lambda: stranger.working)
        stranger.subscribe(("queue:",), ear)
        other.subscribe(("queue:",), known)
        for hint in ("queue:mail", "queue:again"):
            one.publish([hint])
            await known.hears(hint)
        assert ear.calls == []


class ServedNotifierConformance(SharedNotifierConformance):
    """What holds for a notifier behind a server, which it probes.

    `outage`: what can be done to that server.
    """

    knows_working = True

    @asynccontextmanager
    async def _without_server(self, outage: Outage, one: Notifier) -> AsyncGenerator[None]:
        await asyncio.to_thread(outage.cut)
        try:
            await until(lambda: not one.working)
            yield
        finally:
            await asyncio.to_thread(outage.mend)

    async def test_a_server_that_stands_still_is_felt_and_found_again(
        self, make_notifier: MakeNotifier, outage: Outage
    ) -> None:
        """Connections stay open, so only a probe can tell."""
        one, other = await self._pair(make_notifier)
        here, there = Ear(), Ear()
        one.subscribe(("queue:", "cancel"), here)
        other.subscribe(("queue:",), there)
        async with self._without_server(outage, one):
            await until(lambda: not other.working)
            await here.hears("queue:*", "cancel")  # all look for themselves
            assert here.times("queue:*") == 1
            assert one.health.trouble
            one.publish(["queue:here"])
            await here.hears("queue:here")
            other.publish(["queue:meanwhile"])
        await until(lambda: one.working and other.working)
        await here.hears("queue:*", times=2)
        assert one.health.trouble is None
        await _said_until_heard(other, here, "queue:again")

    async def test_publishing_never_waits_for_a_server(self, make_notifier: MakeNotifier, outage: Outage) -> None:
        """Whatever it does not take is kept small, and follows."""
        one, _ = await self._pair(make_notifier)
        async with self._without_server(outage, one):
            await asyncio.to_thread(_publish_a_lot, one)

    async def test_a_stop_does_not_wait_for_a_server(self, make_notifier: MakeNotifier, outage: Outage) -> None:
        """Not for long."""
        one, other = await self._pair(make_notifier)
        async with self._without_server(outage, one):
            one.publish(["queue:mail"])
            other.publish(["queue:mail"])
            for each in (one, other):
                began = time.monotonic()
                await each.stop()
                assert time.monotonic() - began < STOP_S

    async def test_a_server_that_dies_and_comes_back_is_found_again(
        self, make_notifier: MakeNotifier, outage: Outage
    ) -> None:
        """Without anybody doing anything."""
        one, other = await self._pair(make_notifier)
        here, there = Ear(), Ear()
        one.subscribe(("queue:",), here)
        other.subscribe(("queue:",), there)
        await asyncio.to_thread(outage.down)
        try:
            await until(lambda: not one.working and not other.working)
            one.publish(["queue:meanwhile"])
        finally:
            await asyncio.to_thread(outage.up)
        await until(lambda: one.working and other.working)
        await here.hears("queue:*", times=2)
        await _said_until_heard(one, there, "queue:again")
        await _said_until_heard(other, here, "queue:back")


async def _said_until_heard(says: Notifier, hears: Ear, hint: Hint) -> None:
    """As long as it may be lost, say it again."""
    async with asyncio.timeout(PATIENCE_S):
        while hint not in hears.heard:
            says.publish([hint])
            await asyncio.sleep(0.02)


def _publish_all(notifier: Notifier, hints: list[Hint]) -> None:
    for hint in hints:
        notifier.publish([hint])


def _publish_a_lot(notifier: Notifier) -> None:
    """10,000 hints from eight threads, each publish as quick as if there was nobody."""
    jobs = [f"job:{number:032x}" for number in range(PUBLISHES)]
    threads = [threading.Thread(target=_publish_all, args=(notifier, jobs[at::THREADS])) for at in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < PUBLISHING_S
