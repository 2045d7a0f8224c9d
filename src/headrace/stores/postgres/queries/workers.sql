-- Every known worker, with how many jobs it runs.
SELECT worker.id, host, pid, role, version, queues, tasks::text, concurrency, started_at, supervisor_pid, draining,
    (SELECT count(*) FROM headrace_job AS job WHERE job.state = 2 AND job.worker = worker.n AND job.claim >= worker.runs_from),
    greatest(lease.ends_at, pg_postmaster_start_time() + lease.lasts) > coalesce($1::timestamptz, clock_timestamp())
FROM headrace_worker AS worker JOIN headrace_lease AS lease ON lease.worker = worker.n
WHERE gone_at IS NULL ORDER BY worker.id
