-- phase: expand
-- Headrace on SQLite, first schema. The prefix keeps it apart from the application's own tables, which may
-- live in the same file (that is what `using=` is for).
-- Instants are INTEGER microseconds since the epoch (`*_at`), durations REAL seconds (`*_s`).
-- States: 0 scheduled, 1 ready, 2 running, 3 succeeded, 4 failed, 5 cancelled.

-- Which migrations this file has had; a newer one than the program knows is refused at open.
CREATE TABLE headrace_schema_migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    version TEXT NOT NULL,              -- of the program that applied it
    compatible_from INTEGER NOT NULL    -- the migration that a program must know to go on after this one
);

-- What is true of the whole file.
CREATE TABLE headrace_meta (
    key TEXT PRIMARY KEY,               -- 'epoch' names this history of offsets; 'results_pruned' is the last history.seq without a result
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Queues by number, so that a row carries four bytes; never deleted.
CREATE TABLE headrace_queue (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused INTEGER NOT NULL DEFAULT 0   -- 1: a hold on every lane of the queue, whatever waits in it
);

CREATE INDEX headrace_queue_held ON headrace_queue (name) WHERE paused = 1;

-- What claims choose between; never deleted.
CREATE TABLE headrace_lane (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,             -- queue.id
    task TEXT NOT NULL,
    key TEXT NOT NULL,                  -- '' unless the job names a lane of its own
    UNIQUE (queue, task, key)
);

-- What was enqueued. It stays in place while its job moves from job to history and perhaps back.
CREATE TABLE headrace_call (
    n INTEGER PRIMARY KEY,              -- the job's number in this file; free again when all of the job is deleted
    created_at INTEGER NOT NULL,
    first_due_at INTEGER,               -- when it was due at enqueue; NULL: ready at once
    max_attempts INTEGER NOT NULL,
    timeout_s REAL NOT NULL,
    key TEXT,                           -- idempotency, see job_key
    tags TEXT,                          -- JSON array; NULL: none
    signature TEXT NOT NULL,            -- of the task's parameters, as the producer knew them
    traceparent TEXT,
    args TEXT NOT NULL                  -- JSON
);

-- Jobs that live: scheduled, ready, running. Small rows, and few, whatever the history holds.
CREATE TABLE headrace_job (
    n INTEGER PRIMARY KEY,              -- call.n
    id BLOB NOT NULL UNIQUE,            -- 16 bytes of a UUIDv7, made by the caller
    lane INTEGER NOT NULL,              -- lane.id
    state INTEGER NOT NULL,             -- 0, 1 or 2
    priority INTEGER NOT NULL,          -- higher first within the lane
    seq INTEGER NOT NULL,               -- the place in line: the microsecond it became ready, made to rise
    suspect INTEGER NOT NULL,           -- 1: a worker died on it, it runs among suspects; 2: again, it runs alone
    cancelling INTEGER NOT NULL,        -- 1: running, and asked to stop
    fence INTEGER NOT NULL,             -- raised by every claim, never lowered
    settled_fence INTEGER NOT NULL,     -- the last fence that a settle ended
    attempt INTEGER NOT NULL,           -- the number users see
    failures INTEGER NOT NULL,
    crashes INTEGER NOT NULL,           -- while it ran alone
    snoozes INTEGER NOT NULL,
    feed_end INTEGER NOT NULL,          -- the offset where its feed ends
    items INTEGER NOT NULL,             -- items and logs in its feed
    worker INTEGER,                     -- worker.n, while running
    run_at INTEGER,                     -- when it is due, while scheduled
    first_claimed_at INTEGER,           -- of fence 1
    first_claim_offset INTEGER,
    started_at INTEGER,                 -- of the latest attempt
    deadline_at INTEGER,
    failure TEXT                        -- the last one: JSON {type, message, cause, traceback, fingerprint}
);
CREATE INDEX headrace_job_ready ON headrace_job (lane, priority DESC, seq) WHERE state = 1 AND suspect = 0;
CREATE INDEX headrace_job_suspect ON headrace_job (suspect, lane, priority DESC, seq) WHERE state = 1 AND suspect > 0;
CREATE INDEX headrace_job_due ON headrace_job (run_at) WHERE state = 0;
CREATE INDEX headrace_job_scheduled ON headrace_job (lane) WHERE state = 0;
CREATE INDEX headrace_job_running ON headrace_job (worker) WHERE state = 2;

-- Jobs that ended, until their retention is over. Columns as in job.
CREATE TABLE headrace_history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of ending
    n INTEGER NOT NULL,                 -- call.n
    id BLOB NOT NULL UNIQUE,
    lane INTEGER NOT NULL,
    state INTEGER NOT NULL,             -- 3, 4 or 5
    priority INTEGER NOT NULL,
    suspect INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    settled_fence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    snoozes INTEGER NOT NULL,
    feed_end INTEGER NOT NULL,          -- the offset of its end
    items INTEGER NOT NULL,
    worker INTEGER,                     -- that ran its last attempt, if it succeeded
    first_claimed_at INTEGER,
    first_claim_offset INTEGER,
    started_at INTEGER,
    deadline_at INTEGER,
    finished_at INTEGER NOT NULL,
    failure TEXT,                       -- why it failed
    result TEXT                         -- JSON; NULL unless it succeeded, or past its retention
);
CREATE INDEX headrace_history_unhappy ON headrace_history (state, id) WHERE state > 3;

-- Idempotency keys, apart from the jobs since they hold through the move to history. Whether a key
-- still holds is read from its job: alive, or ended within the keys' retention.
CREATE TABLE headrace_job_key (
    task TEXT NOT NULL,
    key TEXT NOT NULL,
    job BLOB NOT NULL,                  -- job.id
    digest TEXT NOT NULL,               -- of the arguments: another one under the same key is a conflict
    PRIMARY KEY (task, key)
) WITHOUT ROWID;

-- Updates that the job's row does not tell: items, logs, and states after the first claim.
CREATE TABLE headrace_feed (
    n INTEGER NOT NULL,                 -- call.n
    feed_offset INTEGER NOT NULL,
    kind TEXT NOT NULL,                 -- state, item or log
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    key TEXT,                           -- of an item: emitted once per job
    data TEXT NOT NULL,                 -- JSON
    PRIMARY KEY (n, feed_offset)
) WITHOUT ROWID;
CREATE UNIQUE INDEX headrace_feed_emitted ON headrace_feed (n, key) WHERE key IS NOT NULL;

-- The latest progress of a job; it counts only while that fence runs.
CREATE TABLE headrace_progress (
    n INTEGER PRIMARY KEY,              -- call.n
    fence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    feed_offset INTEGER NOT NULL,       -- where the feed ended when it was made
    at INTEGER NOT NULL,
    data TEXT NOT NULL                  -- JSON
);

-- Attempts that ended otherwise than in success; that one, and the running one, the job's row tells.
CREATE TABLE headrace_attempt (
    n INTEGER NOT NULL,                 -- call.n
    fence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    worker INTEGER,                     -- worker.n
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    failure TEXT,                       -- JSON, as in job
    PRIMARY KEY (n, fence)
) WITHOUT ROWID;

-- Where rates stand, and whose turn it is; a scope is a task, or a task and one key of its lanes.
CREATE TABLE headrace_limit (
    scope TEXT PRIMARY KEY,
    rate_at REAL,                       -- when the next start would be due if all came evenly: seconds since the epoch
    holder BLOB                         -- of an ordered lane: the job that started last; it has its turn while it lives
) WITHOUT ROWID;

-- Attempts that count for a limit. A slot counts while its job runs under its very fence, so that no end of an attempt
-- needs to free it; the next claim of the scope removes what is dead.
CREATE TABLE headrace_slot (
    scope TEXT NOT NULL,
    job BLOB NOT NULL,                  -- job.id
    fence INTEGER NOT NULL,
    PRIMARY KEY (scope, job)
) WITHOUT ROWID;

-- Processes that run attempts. Their leases are slots beside the database, not rows in it.
CREATE TABLE headrace_worker (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    role TEXT NOT NULL,
    version TEXT NOT NULL,
    queues TEXT,                        -- JSON array; NULL: all
    tasks TEXT NOT NULL,                -- JSON object: name -> signature
    concurrency INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    supervisor_pid INTEGER,
    draining INTEGER NOT NULL,
    gone_at INTEGER                     -- reaped or unregistered; its attempts still name it
);
CREATE INDEX headrace_worker_here ON headrace_worker (id) WHERE gone_at IS NULL;

-- What the fleet knows of an upstream: its breaker, permits and slices, amended by whoever calls it (`core/fleet.py`).
CREATE TABLE headrace_upstream (
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL            -- JSON
) WITHOUT ROWID;

-- What the HTTP side keeps here, so that all its processes agree.
CREATE TABLE headrace_secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE headrace_api_key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,               -- SHA-256 of the key; never the key
    scopes TEXT NOT NULL,               -- JSON array
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) WITHOUT ROWID;
CREATE TABLE headrace_idempotency (
    scope TEXT NOT NULL,                -- the credential
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,          -- of the request
    answer BLOB,                        -- NULL while the first request is in flight
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX headrace_idempotency_expiry ON headrace_idempotency (expires_at);
