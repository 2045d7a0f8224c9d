"""The stages of a move: copy while everything runs, hold claims, stop writes, compare, mark, open.

Invariant: until the file is marked as moved, whatever ends this (an error, Ctrl-C, SIGKILL) leaves the
file in use and the target closed, and the same command goes on from there.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from headrace.core.errors import StoreUnavailable, StoreUnusable
from headrace.ports.clock import Clock
from headrace.stores.move.compare import compare_all, compare_bookmarks, compare_jobs, count
from headrace.stores.move.post import outbox_end
from headrace.stores.move.rows import identity
from headrace.stores.move.source import IDS_MAX, Freed, Jobs, Source
from headrace.stores.move.target import Progress, Target
from headrace.stores.sqlite.moving import Record

if TYPE_CHECKING:
    from headrace.core.model import JobId

CALM: Final = 500  # changes that are few enough to hold claims
ROUNDS_MAX: Final = 200  # after that claims are held however much changes
LOOK_S: Final = 0.1
FOLLOW_S: Final = 2.0  # between rounds in the grace
TELL_S: Final = 5.0
STOPS_MAX: Final = 3
SINCE_MAX: Final = 100_000  # changed jobs that are looked at one by one
SAID_MAX: Final = 5  # differences that a message names
STOPPED_MAX_S: Final = 120.0  # a target that does not answer must not keep the file stopped


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a move is: `done` of `total`, where that says something."""

    name: str
    done: int = 0
    total: int = 0


@dataclass(slots=True)
class Moved:
    """What came of it; durations in seconds."""

    to: str
    already: bool = False
    counts: dict[str, int] = field(default_factory=dict[str, int])
    given_back: int = 0
    suspects: int = 0
    total_s: float = 0.0
    claims_held_s: float = 0.0
    writes_stopped_s: float = 0.0


class Mover:
    """One move. The file is open, the target too."""

    def __init__(
        self,
        source: Source,
        target: Target,
        clock: Clock,
        *,
        to: str,
        grace_s: float,
        replay_retention_s: float,
        tell: Callable[[Stage], None],
    ) -> None:
        """`to` names the target to people; `tell` hears of every stage."""
        self._source: Final = source
        self._target: Final = target
        self._clock: Final = clock
        self._to: Final = to
        self._grace_s: Final = grace_s
        self._replay_retention_s: Final = replay_retention_s
        self._tell: Final = tell
        self._moved: Final = Moved(to)
        self._since: set[JobId] | None = None  # what changed since all was compared

    async def run(self) -> Moved:
        """Move everything.

        Raises:
            StoreError: it cannot be, or something failed; what is in the file goes on as before.
        """
        began = self._clock.now()
        if self._source.moved_to is not None:
            await self._open_if_closed()
            return self._moved
        progress = await self._begin()
        try:
            await self._copy(progress)
            with self._source.held():
                await self._hold(progress)
        except BaseException:
            self._source.let_go()
            raise
        await self._open(progress)
        self._moved.counts = count(self._source, self._clock.wall())
        self._moved.total_s = self._clock.now() - began
        return self._moved

    # -- begin and end ------------------------------------------------------------------------------

    async def _begin(self) -> Progress:
        """Take up the move of before, or begin one."""
        record, progress = self._source.record, await self._target.progress()
        path = str(self._source.path)
        if progress is not None and (progress.epoch, progress.from_) != (self._source.epoch, path):
            raise StoreUnusable(
                f"{self._target.where} holds an unfinished move of {progress.from_}: finish that one, or give it up "
                "with `headrace move --abort`"
            )
        if progress is None and not await self._target.empty():
            raise StoreUnusable(f"{self._target.where} has jobs of its own: a move needs a target without any")
        if record is not None and progress is not None and record.id == progress.id and not self._source.log_full():
            self._tell(Stage("resumed"))
            await self._target.resume(progress)
            return progress
        if record is not None and record.to != self._to:
            raise StoreUnusable(
                f"an unfinished move of {path} goes to {record.to}: finish it, or give it up with "
                f"`headrace move --abort sqlite:///{path}`"
            )
        return await self._begin_anew()

    async def _begin_anew(self) -> Progress:
        progress = Progress(secrets.token_hex(8), self._source.epoch, str(self._source.path))
        await self._target.begin(progress, self._source.first_end())
        self._tell(Stage("closed"))
        self._source.begin(progress.id, self._to)
        self._tell(Stage("begun"))
        return progress

    async def _open(self, progress: Progress) -> None:
        self._tell(Stage("moved"))
        await self._target.open_up(progress, outbox_end(self._source))
        self._tell(Stage("open"))

    async def _open_if_closed(self) -> None:
        """The file had moved before; the target may not have been opened."""
        record, progress = self._source.record, await self._target.progress()
        if record is not None and progress is not None and progress.id == record.id:
            await self._target.resume(progress)
            await self._open(progress)
        elif record is None or await self._target.moved_from() != record.id:
            raise StoreUnusable(f"the jobs of {self._source.path} have moved to {self._source.moved_to} before")
        self._moved.already = True

    # -- copy ---------------------------------------------------------------------------------------

    @property
    def _record(self) -> Record:
        record = self._source.record
        if record is None:
            raise StoreUnusable(f"the move of {self._source.path} was given up meanwhile: nothing was moved")
        return record

    async def _copy(self, progress: Progress) -> None:
        """Bring over what is there, then what changed meanwhile, until that is little."""
        await self._target.put_small(self._source)
        await self._copy_ended(progress)
        if not progress.followed:
            await self._copy_replays()
            await self._target.post.copy(self._source)
            await self._copy_live(progress)
        await self._target.settle_down()
        await self._catch_up(progress)
        await self._rehearse(progress)
        await self._catch_up(progress)

    async def _rehearse(self, progress: Progress) -> None:
        """Compare all of the file, as it is at one moment, with the copy of that moment."""
        with self._source.snapshot():
            await self._follow(progress, trim=False)
            await self._target.put_small(self._source)
            _refuse(await compare_all(self._source, self._target, self._clock.wall()))
        self._since = set()
        self._tell(Stage("rehearsed"))

    async def _copy_ended(self, progress: Progress) -> None:
        end = self._record.history_end
        total = self._source.ended_count(progress.history_seq, end)
        done = 0
        while progress.history_seq < end:
            with self._source.snapshot():
                found = self._source.ended_after(progress.history_seq, end)
                progress.history_seq = found[-1][0] if found else end
                await self._target.add_ended(self._source, found, progress)
            done += len(found)
            self._tell(Stage("history", done, max(total, done)))

    async def _copy_replays(self) -> None:
        last = ("", "")
        while found := self._source.replays_after(last):
            last = (found[-1][0], found[-1][1])
            keys = [(row[0], row[1]) for row in found]
            await self._target.put_replays(keys, found, self._replay_retention_s)

    async def _copy_live(self, progress: Progress) -> None:
        total = self._source.live_count(progress.live_n)
        done = 0
        while not progress.followed:
            with self._source.snapshot():
                found = self._source.live_after(progress.live_n)
                progress.followed = not found
                progress.live_n = found[-1][1] if found else progress.live_n
                ids = [identity(row).bytes for row in found]
                await self._target.replace(self._source, Jobs(ids, found), progress)
            done += len(found)
            self._tell(Stage("live", done, max(total, done)))

    async def _catch_up(self, progress: Progress) -> None:
        """Follow until little changes meanwhile."""
        for _ in range(ROUNDS_MAX):
            if await self._follow(progress) <= CALM:
                break

    async def _follow(self, progress: Progress, *, trim: bool = True) -> int:
        """Copy anew what changed up to now; how much that was."""
        end = self._source.log_end()
        followed = 0
        while progress.log_seq < end:
            changes = self._source.changes_after(progress.log_seq)
            if self._since is not None:
                self._since |= changes.jobs
            left = sorted(changes.jobs)
            while left:
                with self._source.snapshot():
                    jobs = self._source.jobs(left[:IDS_MAX])
                    await self._target.replace(self._source, jobs, progress)
                done = set(jobs.ids)
                left = [job for job in left if job not in done]
            if changes.replays:
                keys = sorted(changes.replays)
                await self._target.put_replays(keys, self._source.replays(keys), self._replay_retention_s)
            await self._target.post.replace_seen(self._source, sorted(changes.seen))
            await self._target.post.replace_events(self._source, sorted(changes.events))
            progress.log_seq = changes.upto
            await self._target.replace(self._source, Jobs([]), progress)
            followed += changes.count
        if followed and trim and not self._source.trim_log(progress.log_seq):
            raise StoreUnavailable("more changed than the log of changes holds: run the command again, it starts over")
        return followed

    # -- hold and stop ------------------------------------------------------------------------------

    async def _hold(self, progress: Progress) -> None:
        """With claims held: let attempts end, stop writes, bring over the rest, and mark the file."""
        held_at = self._clock.now()
        await self._grace(progress)
        for _ in range(STOPS_MAX):
            await self._follow(progress)
            stopped_at = self._clock.now()
            self._note(self._source.stop(self._to))
            self._tell(Stage("stopped"))
            async with asyncio.timeout(STOPPED_MAX_S):
                await self._follow(progress)
                await self._target.put_small(self._source)
                differences = await self._compare()
            if self._source.log_end() == progress.log_seq:
                _refuse(differences)
            self._tell(Stage("compared"))
            if self._source.finish(self._to, progress.log_seq):
                now = self._clock.now()
                self._moved.claims_held_s, self._moved.writes_stopped_s = now - held_at, now - stopped_at
                return
        raise StoreUnavailable(
            f"{self._source.path} was written to although it was stopped; is this machine suspended now and then? "
            "nothing was moved, run the command again"
        )

    async def _compare(self) -> list[str]:
        """What is otherwise since the rehearsal found all the same."""
        if self._since is None or len(self._since) > SINCE_MAX:
            return await compare_all(self._source, self._target, self._clock.wall())
        return [
            *await compare_jobs(self._source, self._target, sorted(self._since)),
            *await compare_bookmarks(self._source, self._target),
        ]

    async def _grace(self, progress: Progress) -> None:
        """Until nothing runs, at most for the grace."""
        began = followed_at = self._clock.now()
        running = self._source.running()
        self._tell(Stage("held", running))
        told_at = began
        while running:
            self._note(self._source.reap())
            now = self._clock.now()
            if now - began >= self._grace_s:
                return
            if now - followed_at >= FOLLOW_S:
                await self._target.answers()
                await self._follow(progress)
                followed_at = self._clock.now()
            if now - told_at >= TELL_S:
                self._tell(Stage("running", running))
                told_at = now
            await self._clock.sleep(LOOK_S)
            running = self._source.running()

    def _note(self, freed: Freed) -> None:
        self._moved.given_back += freed.given_back
        self._moved.suspects += freed.suspects
        if freed.given_back:
            self._tell(Stage("given back", freed.given_back))
        if freed.suspects:
            self._tell(Stage("suspects", freed.suspects))


def _refuse(differences: list[str]) -> None:
    if differences:
        said = "; ".join(differences[:SAID_MAX]) + ("; …" if len(differences) > SAID_MAX else "")
        raise StoreUnusable(
            f"the copy is not what the file has, so nothing was moved ({said}): give it up with `headrace move "
            "--abort`, and please report this"
        )


async def give_up(source: Source, target: Target | None) -> bool:
    """Leave the file as if there had been no move, and the target, if it is named, empty and open.

    Returns: whether there was a move.

    Raises:
        StoreUnusable: the target holds something else than a move of this file.
    """
    record = source.record
    progress = None if target is None else await target.progress()
    if target is not None and progress is not None:
        if progress.epoch != source.epoch:
            raise StoreUnusable(f"{target.where} holds a move of {progress.from_}, not of {source.path}")
        await target.give_up(progress, secrets.token_hex(4))
    source.give_up()
    return record is not None or progress is not None
