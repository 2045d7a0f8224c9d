-- The number of a live job, and its running attempt (fence NULL: none runs).
SELECT job.n, job.attempt, iif(job.state = 2, job.fence, NULL), worker.id, job.started_at
FROM headrace_job AS job LEFT JOIN headrace_worker AS worker ON worker.n = job.worker WHERE job.id = ?1
