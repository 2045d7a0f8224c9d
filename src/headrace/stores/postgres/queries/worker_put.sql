-- Make a worker known, or renew what is known of it.
INSERT INTO headrace_worker AS worker (id, host, pid, role, version, queues, tasks, concurrency, started_at, supervisor_pid, draining)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10, $11)
ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, role = excluded.role,
    version = excluded.version, queues = excluded.queues, tasks = excluded.tasks, concurrency = excluded.concurrency,
    started_at = excluded.started_at, supervisor_pid = excluded.supervisor_pid, draining = excluded.draining,
    gone_at = NULL
RETURNING n
