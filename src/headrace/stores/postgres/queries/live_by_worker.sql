-- What a worker runs, from this claim on; held until the end of the transaction.
SELECT job.id, job.line, job.state, job.suspect, job.cancelling, job.fence, job.crashes, job.attempt, job.feed_end, job.claim
FROM headrace_job AS job WHERE job.state = 2 AND job.worker = $1 AND job.claim >= $2 ORDER BY job.id FOR UPDATE
