-- What a worker runs; held until the end of the transaction.
SELECT job.id, job.line, job.state, job.suspect, job.cancelling, job.fence, job.crashes, job.attempt, job.feed_end
FROM headrace_job AS job WHERE job.state = 2 AND job.worker = $1 ORDER BY job.id FOR UPDATE
