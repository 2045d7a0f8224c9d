-- phase: expand
-- Headrace on PostgreSQL, first schema. The prefix keeps it apart from the application's own tables, which live in the
-- same database (that is what `using=` is for).
-- States: 0 scheduled, 1 ready, 2 running, 3 succeeded, 4 failed, 5 cancelled.

-- Which migrations this database has had; a newer one than the program knows is refused at open.
CREATE TABLE headrace_schema_migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL,
    version text NOT NULL,              -- of the program that applied it
    compatible_from integer NOT NULL    -- the migration that a program must know to go on after this one
);

-- What is true of the whole database.
CREATE TABLE headrace_meta (
    key text PRIMARY KEY,               -- 'epoch' names this history of offsets; 'pruned_to' and 'results_pruned_to' are instants
    value text NOT NULL
);

-- Queues by number; never deleted.
CREATE TABLE headrace_queue (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    paused boolean NOT NULL DEFAULT false   -- a hold on every lane of the queue, whatever waits in it
);
CREATE INDEX headrace_queue_held ON headrace_queue (id) WHERE paused;

-- One priority of a lane: what claims walk along, in the order of `seq`. Never deleted.
CREATE TABLE headrace_line (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue integer NOT NULL,             -- queue.id
    task text NOT NULL,
    key text NOT NULL,                  -- '' unless the job names a lane of its own
    priority integer NOT NULL,          -- higher first within the lane
    UNIQUE (queue, task, key, priority)
);

-- Places in line. Not cached by sessions: a later job must not take an earlier place.
CREATE SEQUENCE headrace_place;

-- Numbers of claims. Drawn under the lock of their worker's row: what a worker claims later has higher ones.
CREATE SEQUENCE headrace_claim;

-- Jobs that live: scheduled, ready, running. Few, whatever the history holds.
CREATE TABLE headrace_job (
    id uuid PRIMARY KEY,                -- a UUIDv7, made by the caller
    seq bigint NOT NULL,                -- the place in line
    created_at timestamptz NOT NULL,
    due_at timestamptz,                 -- when a scheduled one is due; since when a ready one is ready
    first_due_at timestamptz,           -- when it was due at enqueue; NULL: ready at once
    first_claimed_at timestamptz,       -- of fence 1
    started_at timestamptz,             -- of the latest attempt
    deadline_at timestamptz,
    timeout_s double precision NOT NULL,
    line integer NOT NULL,              -- line.id
    worker integer,                     -- worker.n, while running
    claim bigint,                       -- of the latest attempt
    fence integer NOT NULL DEFAULT 0,   -- raised by every claim, never lowered
    settled_fence integer NOT NULL DEFAULT 0,   -- the last fence that a settle ended
    attempt integer NOT NULL DEFAULT 0, -- the number users see
    failures integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0, -- while it ran alone
    snoozes integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    feed_end integer NOT NULL DEFAULT 1,    -- the offset where its feed ends
    items integer NOT NULL DEFAULT 0,   -- items and logs in its feed
    first_claim_offset integer,
    state smallint NOT NULL,            -- 0, 1 or 2
    suspect smallint NOT NULL DEFAULT 0,    -- 1: a worker died on it, it runs among suspects; 2: again, it runs alone
    cancelling boolean NOT NULL DEFAULT false,  -- running, and asked to stop
    progress_offset integer,            -- where the feed ended when the latest progress was made
    progress_at timestamptz,
    progress text,                      -- the latest one of the running attempt: JSON
    key text,                           -- idempotency, see job_key
    tags text[],
    signature text NOT NULL,            -- of the task's parameters, as the producer knew them
    traceparent text,
    failure text,                       -- the last one: JSON {type, message, cause, traceback, fingerprint}
    args text NOT NULL                  -- JSON
) WITH (
    fillfactor = 85,                    -- room for updates that raise a feed's end
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 5000
);
CREATE INDEX headrace_job_ready ON headrace_job (suspect, line, seq) WHERE state = 1;
CREATE INDEX headrace_job_due ON headrace_job (due_at, seq) WHERE state = 0;
CREATE INDEX headrace_job_scheduled ON headrace_job (line) WHERE state + 0 = 0;  -- so that no plan takes one for the other
CREATE INDEX headrace_job_running ON headrace_job (worker, claim) WHERE state = 2;
CREATE INDEX headrace_job_cancelling ON headrace_job (worker) WHERE cancelling;  -- few, where a held snapshot keeps many dead ones

-- Jobs that ended, by the day on which they did: a day that is past its retention is dropped whole. Columns as in job.
CREATE TABLE headrace_history (
    id uuid NOT NULL,
    finished_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    first_due_at timestamptz,
    first_claimed_at timestamptz,
    started_at timestamptz,
    deadline_at timestamptz,
    timeout_s double precision NOT NULL,
    line integer NOT NULL,
    worker integer,                     -- that ran its last attempt
    fence integer NOT NULL,
    settled_fence integer NOT NULL,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    crashes integer NOT NULL,
    snoozes integer NOT NULL,
    max_attempts integer NOT NULL,
    feed_end integer NOT NULL,          -- the offset of its end
    items integer NOT NULL,
    first_claim_offset integer,
    state smallint NOT NULL,            -- 3, 4 or 5
    suspect smallint NOT NULL,
    key text,
    tags text[],
    signature text NOT NULL,
    traceparent text,
    failure text,                       -- why it failed
    result text,                        -- JSON; NULL unless it succeeded, or past its retention
    args text NOT NULL,
    PRIMARY KEY (id, finished_at)
) PARTITION BY RANGE (finished_at);
CREATE TABLE headrace_history_other PARTITION OF headrace_history DEFAULT;  -- of days that nobody prepared
CREATE INDEX headrace_history_ended ON headrace_history USING brin (finished_at) WITH (pages_per_range = 16);
CREATE INDEX headrace_history_unhappy ON headrace_history (state, id) WHERE state > 3;
-- What a drop of the day would leave behind: jobs with feed rows, attempts or a key.
CREATE INDEX headrace_history_linked ON headrace_history (finished_at) WHERE NOT (state = 3 AND feed_end = 3 AND key IS NULL);

-- Idempotency keys, apart from the jobs since they hold through the move to history. Whether a key
-- still holds is read from its job: alive, or ended within the keys' retention.
CREATE TABLE headrace_job_key (
    task text NOT NULL,
    key text NOT NULL,
    job uuid NOT NULL,                  -- job.id
    digest text NOT NULL,               -- of the arguments: another one under the same key is a conflict
    PRIMARY KEY (task, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Updates that the job's row does not tell: items, logs, and states after the first claim.
CREATE TABLE headrace_feed (
    job uuid NOT NULL,                  -- job.id
    feed_offset integer NOT NULL,
    attempt integer NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,                 -- state, item or log
    key text,                           -- of an item: emitted once per job
    data text NOT NULL,                 -- JSON
    PRIMARY KEY (job, feed_offset)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX headrace_feed_emitted ON headrace_feed (job, key) WHERE key IS NOT NULL;

-- Attempts that ended otherwise than in success; that one, and the running one, the job's row tells.
CREATE TABLE headrace_attempt (
    job uuid NOT NULL,                  -- job.id
    fence integer NOT NULL,
    attempt integer NOT NULL,
    worker integer,                     -- worker.n
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    outcome text NOT NULL,
    failure text,                       -- JSON, as in job
    PRIMARY KEY (job, fence)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Scopes of limits: a task, or a task and one key of its lanes. A claim locks those that it takes from; never deleted.
CREATE TABLE headrace_limit (
    scope text PRIMARY KEY,
    rate_at double precision,           -- when the next start would be due if all came evenly: seconds since the epoch
    holder uuid                         -- of an ordered lane: the job that started last; it has its turn while it lives
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- Attempts that count for a limit. A slot counts while its job runs under its very fence, so that no end of an attempt
-- needs to free it; the next claim of the scope removes what is dead.
CREATE TABLE headrace_slot (
    scope text NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,  -- given under the scope's lock, so that it rises: what is dead stays dead
    job uuid NOT NULL,                  -- job.id
    fence integer NOT NULL,
    PRIMARY KEY (scope, n)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- Processes that run attempts. A claim locks its worker's row (FOR KEY SHARE), a reap for itself (FOR UPDATE).
CREATE TABLE headrace_worker (
    n integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    host text NOT NULL,
    pid integer NOT NULL,
    role text NOT NULL,
    version text NOT NULL,
    queues text[],                      -- NULL: all
    tasks jsonb NOT NULL,               -- name -> signature
    concurrency integer NOT NULL,
    started_at timestamptz NOT NULL,
    supervisor_pid integer,
    draining boolean NOT NULL,
    runs_from bigint NOT NULL DEFAULT 0,    -- nothing that it runs has a lower number of its claim
    gone_at timestamptz                 -- reaped or unregistered; its attempts still name it
);

-- Leases, apart from their workers: they are renewed twice a second, and claims need not wade through that.
CREATE TABLE headrace_lease (
    worker integer PRIMARY KEY,         -- worker.n
    ends_at timestamptz NOT NULL,       -- but not before the living had as long to renew it since the server started
    lasts interval NOT NULL,
    holder integer,                     -- who keeps it holds this advisory lock on an idle session; NULL: nobody can
    held_since timestamptz              -- when the server started in which that lock was taken
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- What the fleet knows of an upstream: its breaker, permits and slices, amended by whoever calls it (`core/fleet.py`).
CREATE TABLE headrace_upstream (
    name text PRIMARY KEY,
    document text NOT NULL            -- JSON
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- What the HTTP side keeps here, so that all its processes agree.
CREATE TABLE headrace_secret (
    name text PRIMARY KEY,
    value bytea NOT NULL
);
CREATE TABLE headrace_api_key (
    id text PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL,              -- SHA-256 of the key; never the key
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE TABLE headrace_idempotency (
    scope text NOT NULL,                -- the credential
    key text NOT NULL,
    fingerprint bytea NOT NULL,         -- of the request
    answer bytea,                       -- NULL while the first request is in flight
    begun_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX headrace_idempotency_expiry ON headrace_idempotency (expires_at);
