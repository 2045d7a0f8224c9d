-- What a move of these live jobs needs to know; held until the end of the transaction.
SELECT job.id, job.line, job.state, job.suspect, job.cancelling, job.fence, job.crashes, job.attempt, job.feed_end
FROM headrace_job AS job WHERE job.id = ANY ($1::uuid[]) ORDER BY job.id FOR UPDATE
