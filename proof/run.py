"""One run on one store: start, order, follow, hurt, heal, count."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from proof.backing import Backing
from proof.evidence import Evidence, read_lines, read_producers
from proof.faults import OTHERS, Saboteur
from proof.fleet import Fleet
from proof.followers import Followers
from proof.ledger import Ledger, compute
from proof.orders import orders
from proof.processes import ROOT
from proof.producers import Producers

RATE_MAX: Final = 130.0
SECONDS_MIN: Final = 75.0
CUSTOMERS: Final = 8
SSE_READERS: Final = 8
SOCKETS, FEEDS_PER_SOCKET = 2, 6
HEAL_S: Final = 60.0
EASE_MAX: Final = 3.0
PATIENCE: Final = 6.0
"""So many times as long as planned may the ordering take on a busy machine, before it is cut short."""
BACKLOG_MAX: Final = 300
PAGE: Final = 500


@dataclass(slots=True)
class Report:
    """What one run found, besides the ledger."""

    ledger: Ledger
    wanted: int
    store: str
    place: str
    disk_full: str
    seconds: float
    heal_s: float
    answers: dict[str, int]
    versions: dict[str, str] = field(default_factory=dict[str, str])


class Run:
    """Everything of one run; `close` leaves no process."""

    def __init__(
        self,
        backing: Backing,
        folder: Path,
        jobs: int,
        seed: int,
        *,
        say: Callable[[str], None],
        at_most_s: float | None,
    ) -> None:
        """Nothing is started; after `at_most_s` nothing is ordered any more."""
        self._seconds = max(SECONDS_MIN, jobs / RATE_MAX)
        self._at_most_s = self._seconds * PATIENCE if at_most_s is None else at_most_s
        self._backing = backing
        self._folder = folder
        self._jobs = jobs
        self._seed = seed
        self._say = say
        self._fleet = Fleet(backing, folder)
        self._heal_s = 0.0

    async def go(self) -> Report:
        """From the first process to the ledger."""
        began = time.monotonic()
        key = self._found()
        self._fleet.start_missing()
        evidence, answers = await self._live(key)
        self._fleet.stop()
        evidence.faults = self._fleet.faults
        evidence.lines, evidence.torn = read_lines(self._fleet.lines)
        read_producers(self._folder / "producers.log", evidence)
        self._backing.read(evidence, self._fleet.hurt.__contains__)
        self._keep(evidence)
        return Report(
            compute(evidence), self._jobs, self._backing.name, self._backing.place, self._disk_full(),
            time.monotonic() - began, self._heal_s, answers, self._backing.versions,
        )  # fmt: skip

    def close(self) -> None:
        """Whatever happened: no process stays."""
        self._fleet.kill()

    def _found(self) -> str:
        """Make the database and an API key in it."""
        self._headrace("migrate")
        self._backing.prepare()
        return str(json.loads(self._headrace("keys", "create", "proof", "--json"))["key"])

    def _headrace(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", *words],
            cwd=ROOT, env=self._fleet.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"headrace {words[0]}: {done.stderr}")
        return done.stdout

    async def _live(self, key: str) -> tuple[Evidence, dict[str, int]]:
        followers = Followers(self._fleet.url, self._seed)
        log = self._folder / "producers.log"
        async with (
            Producers(self._fleet.url, key, log, self._seed, followers.offer) as producers,
            asyncio.TaskGroup() as group,
        ):
            ease = min(EASE_MAX, self._seconds / SECONDS_MIN)
            saboteur = Saboteur(self._fleet, self._backing, self._seed, lambda: producers.in_flight, ease)
            await saboteur.until_up()
            self._say("everything is up")
            reading = [group.create_task(followers.sse()) for _ in range(SSE_READERS)]
            reading += [group.create_task(followers.websocket(FEEDS_PER_SOCKET)) for _ in range(SOCKETS)]
            watching = group.create_task(self._watch_backlog(producers))
            faults = [group.create_task(saboteur.kills()), group.create_task(saboteur.others())]
            await self._order(producers, group)
            await _cancel([*faults, watching])
            self._say(f"{producers.count} jobs acknowledged; the faults stop")
            await saboteur.until_up()
            evidence = Evidence()
            await self._heal(followers)
            evidence.shown = await self._shown(key)
            await _cancel(reading)
        evidence.feeds = [reader.followed for reader in followers.readers]
        return evidence, dict(producers.answers)

    async def _order(self, producers: Producers, group: asyncio.TaskGroup) -> None:
        """Until there are enough jobs and each kind of fault has happened."""
        stop_at = time.monotonic() + self._at_most_s
        wanted = {*OTHERS, *self._backing.own, "kill_worker", "kill_tree"}
        if self._backing.refusal.how is None:
            wanted.discard("disk_full")

        def enough() -> bool:
            if time.monotonic() > stop_at:
                return True
            return producers.count >= self._jobs and wanted <= {fault.kind for fault in self._fleet.faults}

        pause_s = CUSTOMERS * self._seconds / self._jobs
        stream = orders(self._seed)
        customers = [group.create_task(producers.customer(stream, pause_s, enough)) for _ in range(CUSTOMERS)]
        while not all(customer.done() for customer in customers):
            await asyncio.wait(customers, timeout=10.0)
            self._say(f"{producers.count} jobs acknowledged, {len(self._fleet.faults)} faults")

    async def _watch_backlog(self, producers: Producers) -> None:
        """Customers wait while much is undone, so that the end comes within its bound."""
        while True:
            producers.held = self._backing.backlog() > BACKLOG_MAX
            await asyncio.sleep(0.25)

    async def _heal(self, followers: Followers) -> None:
        """Until every acknowledged job has ended and every reader has seen its end, within a bound."""
        began = time.monotonic()
        acknowledged = Evidence()
        read_producers(self._folder / "producers.log", acknowledged)
        left = list(acknowledged.acknowledged.values())
        while time.monotonic() < began + HEAL_S:
            left = self._backing.unfinished(left)
            if not left and not followers.busy and not self._backing.backlog():
                break
            await asyncio.sleep(0.25)
        self._heal_s = time.monotonic() - began
        self._say(f"{len(left)} jobs unfinished and {followers.busy} feeds open after {self._heal_s:.1f} s")

    async def _shown(self, key: str) -> dict[str, str]:
        """The state of every job, as the public API lists them."""
        shown: dict[str, str] = {}
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=self._fleet.url, headers=headers, timeout=30, trust_env=False) as http:
            token = ""
            while True:
                query = {"page_size": str(PAGE)} | ({"page_token": token} if token else {})
                page = (await http.get("/headrace/api/jobs", params=query)).raise_for_status().json()
                shown |= {job["id"].replace("-", ""): job["state"] for job in page["jobs"]}
                token = page["next_page_token"]
                if not token:
                    return shown

    def _disk_full(self) -> str:
        refusal = self._backing.refusal
        if refusal.how is None:
            return f"not possible here ({refusal.why})"
        return f"{refusal.how} (not possible: {refusal.why})" if refusal.why else refusal.how

    def _keep(self, evidence: Evidence) -> None:
        """What is not in a file yet."""
        with (self._folder / "feeds.jsonl").open("w", encoding="utf-8") as file:
            for feed in evidence.feeds:
                seen = [[each.offset, each.kind, each.key] for each in feed.seen]
                file.write(json.dumps({"job": feed.job, "by": feed.by, "lost": feed.places_lost, "seen": seen}) + "\n")
        with (self._folder / "faults.jsonl").open("w", encoding="utf-8") as file:
            for fault in evidence.faults:
                file.write(
                    json.dumps(
                        [fault.kind, fault.at, fault.until, fault.pids, fault.suspects, fault.others, fault.in_flight]
                    )
                    + "\n"
                )


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


def keep_evidence(folder: Path, place: Path) -> None:
    """Copy all files of a run to where they stay."""
    shutil.copytree(folder, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("hints", "wake", "*.sock"))


def run_to_end(work: Coroutine[Any, Any, Report]) -> Report:
    """`asyncio.run`, with the first real error instead of a group of them."""
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
