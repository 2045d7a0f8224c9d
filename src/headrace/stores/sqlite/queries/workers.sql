-- Every known worker, with how many jobs it runs.
SELECT id, host, pid, role, version, queues, tasks, concurrency, started_at, supervisor_pid, draining,
    (SELECT count(*) FROM headrace_job AS job WHERE job.state = 2 AND job.worker = worker.n)
FROM headrace_worker AS worker WHERE gone_at IS NULL ORDER BY id
