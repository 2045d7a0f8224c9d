-- What somebody asked this worker to stop.
SELECT job.id, job.fence FROM headrace_worker AS worker CROSS JOIN headrace_job AS job ON job.state = 2 AND job.worker = worker.n
WHERE worker.id = ?1 AND worker.gone_at IS NULL AND job.cancelling = 1
