-- What an append needs to know; guard: (id, fence, running), held until the end of the transaction.
SELECT job.id, job.fence, job.attempt, job.feed_end, job.items, coalesce($3::timestamptz, statement_timestamp())
FROM unnest($1::uuid[], $2::integer[]) AS write (id, fence)
JOIN headrace_job AS job ON job.id = ANY (ARRAY[write.id]) AND job.fence = write.fence AND job.state + 0 = 2
ORDER BY job.id FOR NO KEY UPDATE OF job
