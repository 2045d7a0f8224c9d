"""What the store keeps in memory between transactions stays small, however many jobs go by."""

import os
from pathlib import Path

import pytest

from headrace.core.ids import IdMaker
from headrace.core.model import ClaimRequest, NewJob, Pool, Settle, SettleResult, Succeeded, WorkerRecord
from headrace.stores.sqlite import SqliteStore, claim

TAKE = ClaimRequest((Pool(frozenset({"t"}), 50),))


async def test_numbers_of_settled_jobs_are_forgotten_and_of_others_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ids = SqliteStore(tmp_path / "a.db"), IdMaker()
    await store.open()
    await store.register(WorkerRecord("w", "host", 1, "worker", "0", None, {}, 1, 0.0), 60.0)
    await store.enqueue([NewJob(ids.make(1.0, os.urandom(8)), "t", "default", "{}") for _ in range(200)])
    taken = (await store.exchange("w", (), TAKE)).claimed
    for _ in range(3):
        settles = [Settle(job.id, job.fence, Succeeded()) for job in taken]
        answer = await store.exchange("w", settles, TAKE)
        assert set(answer.settled) == {SettleResult.SETTLED}
        taken = answer.claimed
    numbers = store._ledger.numbers
    assert len(numbers) == len(taken) == 50

    monkeypatch.setattr(claim, "NUMBERS_MAX", 10)
    await store.reconcile("w", [])  # given back: nobody settles them
    again = (await store.exchange("w", (), TAKE)).claimed
    assert len(numbers) == 50
    settles = [Settle(job.id, job.fence, Succeeded()) for job in again]
    numbers.clear()
    assert set((await store.exchange("w", settles, None)).settled) == {SettleResult.SETTLED}
    await store.close()
