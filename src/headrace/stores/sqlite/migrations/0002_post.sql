-- phase: expand
-- Where messages come in and events go out. Columns of jobs as in headrace_job.

-- Sources by number; never deleted.
CREATE TABLE headrace_source (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    taken_at INTEGER                    -- when it last took something, to a second
);

-- How far a source has read each part of its stream.
CREATE TABLE headrace_bookmark (
    source INTEGER NOT NULL,            -- source.id
    part TEXT NOT NULL,
    next INTEGER NOT NULL,              -- the first place that it has not read
    last_ms INTEGER,                    -- of the message before it, by its broker's clock
    PRIMARY KEY (source, part)
) WITHOUT ROWID;

-- Messages that became jobs, and (source 0) events that were published once; for a while.
CREATE TABLE headrace_seen (
    source INTEGER NOT NULL,            -- source.id
    digest BLOB NOT NULL,               -- of the message's id; that of the event
    at INTEGER NOT NULL,
    PRIMARY KEY (source, digest)
) WITHOUT ROWID;
CREATE INDEX headrace_seen_at ON headrace_seen (source, at);

-- Messages that do not fit their task, as they came, with the jobs that they became.
CREATE TABLE headrace_letter (
    job BLOB PRIMARY KEY,               -- job.id
    source INTEGER NOT NULL,            -- source.id
    why TEXT NOT NULL,
    content_type TEXT,
    headers TEXT NOT NULL,              -- JSON
    place TEXT NOT NULL,                -- at the broker
    size INTEGER NOT NULL,              -- of the body, there
    body BLOB NOT NULL                  -- at least its beginning
);

-- Sinks by number; never deleted.
CREATE TABLE headrace_sink (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Events that wait for their sink to confirm them. A place is never used again.
CREATE TABLE headrace_outbox (
    n INTEGER PRIMARY KEY AUTOINCREMENT,    -- the place
    sink INTEGER NOT NULL,              -- sink.id
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,    -- times that the sink refused it
    parked INTEGER NOT NULL DEFAULT 0,  -- 1: until a person lets it go again, or drops it
    failure TEXT,                       -- why it was refused the last time
    key TEXT,                           -- events of one key go out in order
    target TEXT NOT NULL,
    head TEXT NOT NULL,                 -- JSON
    body BLOB NOT NULL
);
CREATE INDEX headrace_outbox_waiting ON headrace_outbox (sink, n) WHERE parked = 0;
CREATE INDEX headrace_outbox_parked ON headrace_outbox (sink, n) WHERE parked = 1;

-- Outcomes of jobs that are to be told when they have ended.
CREATE TABLE headrace_promise (
    job BLOB NOT NULL,                  -- job.id
    name TEXT NOT NULL,                 -- of the outcome
    PRIMARY KEY (job, name)
) WITHOUT ROWID;

-- What one process at a time does for all, and which.
CREATE TABLE headrace_chore (
    name TEXT PRIMARY KEY,
    doer TEXT NOT NULL,
    term INTEGER NOT NULL,              -- raised when the doer changes
    ends_at INTEGER NOT NULL
) WITHOUT ROWID;
