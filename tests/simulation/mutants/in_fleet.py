# ruff: noqa: E501 - an edit shows whole lines
"""Safeguards of supervisors, of readers, and of what they talk through."""

from headrace.testing.sim.scenario import FaultKind
from tests.simulation.mutants.edits import edit
from tests.simulation.mutants.kinds import CRASHES, ZOMBIES, sim, where_any

SUPERVISOR = "runtime.supervisor:Supervisor"

MUTANTS = (
    sim(
        "a reader sees each update once",
        "What a reader has seen is not told to it again.",
        edit("core.cursor:Cursor.advance", ("Position(self.position.epoch, update.offset)", "self.position")),
        bound=30, breaks=("feeds are whole, in order, and end",),
    ),
    sim(
        "suspects have a worker of their own",
        "A worker that runs suspects takes no other jobs.",
        edit("core.worker_pools:Appetite.request", ("self._asking(claims, self._company)", "self._asking(claims, (Suspicion.NONE, Suspicion.SHARED))")),
        worlds=CRASHES, bound=76, breaks=("quarantine hits poison, not its neighbours",),
    ),
    sim(
        "silent workers are looked for",
        "Supervisors free the jobs of workers whose leases have ended.",
        edit(f"{SUPERVISOR}._look", ("reaped = await reap_once(self._store)", "return")),
        worlds=where_any(FaultKind.TREE_CRASH, FaultKind.POWER_CUT), bound=64, breaks=("acknowledged jobs end", "nothing leaks"),
    ),
    sim(
        "a dead child is replaced",
        "A supervisor starts a new child in the place of one that has ended.",
        edit(f"{SUPERVISOR}._seat", ("await self._attend(ward)", "await self._attend(ward); await self._stop.wait()")),
        worlds=where_any(FaultKind.WORKER_CRASH, FaultKind.POISON), bound=88, breaks=("acknowledged jobs end",),
    ),
    sim(
        "leases are renewed",
        "A supervisor renews the leases of its living children.",
        edit(f"{SUPERVISOR}._renew", ("renewed = await self._store.renew(ward.worker_id, self._lease_s)", "return")),
        bound=36, breaks=("acknowledged jobs end",),
    ),
    sim(
        "a child without a lease is dismissed",
        "A worker whose lease is lost ends, and another takes its place.",
        edit(f"{SUPERVISOR}._renew", ("if renewed.lost:\n        self._dismiss(ward)", "if renewed.lost:\n        pass")),
        edit(f"{SUPERVISOR}._look", ("self._dismiss(ward)", "pass")),
        worlds=ZOMBIES, bound=92, breaks=("acknowledged jobs end",),
    ),
)  # fmt: skip
