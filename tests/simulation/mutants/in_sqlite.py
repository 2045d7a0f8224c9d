"""Guards of the SQLite store, each dropped; the walks against the memory store find it."""

from tests.simulation.mutants.edits import Sql, edit
from tests.simulation.mutants.kinds import READS, model

STORE = "stores.sqlite"

MUTANTS = (
    model(
        "sql: a claim raises the fence",
        "Every claim raises the job's fence.",
        Sql("claim", "fence = fence + 1", "fence = max(fence, 1)"),
        bound=6, breaks=("exchange", READS),
    ),
    model(
        "sql: settles in bulk ask for the fence",
        "A batch of successes moves only those whose fence is the job's.",
        Sql("settling_move", "AND job.fence = settling.fence", ""),
        Sql("settling_lost", "AND job.fence = settling.fence", ""),
        bound=15, breaks=("exchange",),
    ),
    model(
        "sql: settles in bulk ask for a running job",
        "A batch of successes moves only jobs that run.",
        Sql("settling_move", "AND job.state = 2", ""),
        Sql("settling_lost", "AND job.state = 2", ""),
        bound=15, breaks=("exchange",),
    ),
    model(
        "sql: a settle asks for the fence",
        "A settle is written only under the fence of the running attempt.",
        edit(f"{STORE}.settle:settle_one", ("or live.fence != entry.fence", "")),
        bound=15, breaks=("exchange",),
    ),
    model(
        "sql: a repeated settle is known",
        "A settle that comes twice is answered as repeated, and changes nothing.",
        edit(f"{STORE}.settle:settle_one", ("if 0 < entry.fence == live.settled_fence:", "if False:")),
        bound=6, breaks=("exchange",),
    ),
    model(
        "sql: a repeated settle of an ended job is known",
        "The last fence that was settled outlives the job's end.",
        Sql("finish", "fence, ?4,", "fence, 0 * ?4,"),
        bound=6, breaks=("exchange",),
    ),
    model(
        "sql: an append asks for the fence",
        "Items, logs and progress are written only under the fence of the running attempt.",
        Sql("append_guard", "AND fence = ?2", "AND ?2 > 0"),
        bound=15, breaks=("append",),
    ),
    model(
        "sql: an append asks for a running job",
        "Nothing is added to the feed of a job that does not run.",
        Sql("append_guard", "AND state = 2", ""),
        bound=6, breaks=("append",),
    ),
    model(
        "sql: an item raises the feed's end",
        "An item and the feed's end that counts it are written together.",
        Sql("append_raise", "feed_end = ?2, items = ?3", "items = ?3 + 0 * ?2"),
        bound=6, breaks=("append", READS),
    ),
    model(
        "sql: a keyed item is written once",
        "An item with a key that the feed has is not added again.",
        edit(f"{STORE}.feed:append", ("if before is not None:", "if False:")),
        bound=40, breaks=("append",), slow=True,
    ),
    model(
        "sql: an id is enqueued once",
        "An enqueue of an id that has ended adds nothing.",
        Sql("job_insert", "WHERE NOT EXISTS (SELECT 1 FROM headrace_history AS history WHERE id = ?2)", "WHERE true"),
        bound=6, breaks=("enqueue",),
    ),
    model(
        "sql: a key has one holder",
        "A key that a live or lately ended job holds leads to that job.",
        edit(f"{STORE}.enqueue:_landings", ("taken.get(name) or _holder(tx, name, retention)", "taken.get(name)")),
        bound=6, breaks=("enqueue",),
    ),
    model(
        "sql: a key outlives its job",
        "A key is kept for its retention after its job's end.",
        edit(f"{STORE}.enqueue:_holder", ("finished_at + retention > tx.now", "finished_at > tx.now")),
        bound=30, breaks=("enqueue",),
    ),
    model(
        "sql: only what is past its retention is pruned",
        "Ended jobs are kept for their retention.",
        edit(f"{STORE}.chores:prune", ("if row[3] <= kept_since", "")),
        bound=6, breaks=("prune", READS),
    ),
    model(
        "sql: only what is due is promoted",
        "A scheduled job waits until it is due.",
        Sql("due", "AND run_at <= ?1", "AND ?1 > 0"),
        bound=15, breaks=("promote",),
    ),
    model(
        "sql: a paused queue is not claimed from",
        "A claim leaves the jobs of paused queues alone.",
        edit(f"{STORE}.claim:claim", ('frozenset(paused.split("\\x1f"))', "frozenset[str]()")),
        bound=6, breaks=("exchange",),
    ),
    model(
        "sql: a claim asks who is known",
        "A worker that was reaped or has left is given nothing.",
        Sql("survey", "AND gone_at IS NULL", ""),
        bound=15, breaks=("exchange",),
    ),
    model(
        "sql: suspects are claimed apart",
        "A claim for other jobs takes no suspects.",
        Sql("claim_pick", "AND job.suspect = 0", ""),
        Sql("lanes_ready", "WHERE state = 1 AND suspect = 0\n    UNION", "WHERE state = 1\n    UNION"),
        bound=15, breaks=("exchange",),
    ),
    model(
        "sql: a lost lease is not renewed",
        "A lease that has ended stays ended.",
        edit(f"{STORE}.slots:Slot.renew", (" or _RECORD.unpack(record)[0] <= now", "")),
        bound=30, breaks=("renew", READS),
    ),
    model(
        "sql: cancels are for their worker",
        "A worker is told only of cancels of jobs that it runs.",
        Sql("worker_cancels", "AND job.cancelling = 1", ""),
        bound=15, breaks=("renew",),
    ),
    model(
        "sql: a cancelled job does not wait again",
        "A job that somebody asked to cancel ends as cancelled instead of waiting again.",
        edit(f"{STORE}.settle:_settle_live", ("cancelling=bool(live.cancelling)", "cancelling=False")),
        bound=160, breaks=("exchange", READS), slow=True,
    ),
    model(
        "sql: reconcile spares what the worker holds",
        "Reconcile gives back only what the worker does not name.",
        edit(f"{STORE}.workers:reconcile", ("if Lease(live.id, live.fence) not in held", "")),
        bound=30, breaks=("reconcile",),
    ),
    model(
        "sql: reconcile goes by the fence",
        "Reconcile gives back a claim of a job that the worker names under an older fence.",
        edit(
            f"{STORE}.workers:reconcile",
            ("Lease(live.id, live.fence) not in held", "live.id not in {each.id for each in held}"),
        ),
        bound=20, breaks=("reconcile",),
    ),
    model(
        "sql: only failed and cancelled jobs are revived",
        "A success is final.",
        Sql("revive", "AND state > 3", ""),
        edit(f"{STORE}.jobs:_retry_one", ("not in {FAILED, CANCELLED}", "not in {3, FAILED, CANCELLED}")),
        bound=6, breaks=("retry",),
    ),
    model(
        "sql: a slot counts while its job runs",
        "An attempt that has ended takes no slot of a limit from those that run.",
        Sql("slot_sweep", "AND job.state = 2", ""),
        Sql("slot_count", "AND job.state = 2", ""),
        bound=180, breaks=("exchange",), slow=True,
    ),
    model(
        "sql: a turn lasts as long as its job",
        "Who waits between two attempts keeps the turn of an ordered lane.",
        Sql("turn_holder", "ON job.id = turn.holder", "ON job.id = turn.holder AND job.state = 2"),
        bound=120, breaks=("exchange",), slow=True,
    ),
)  # fmt: skip
