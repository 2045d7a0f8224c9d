-- A job whose turn it is, as `claim_pick` has it; guard: still ready.
SELECT job.n, job.id, job.fence, call.args, job.attempt, job.failures, job.crashes, job.snoozes, call.max_attempts,
    call.timeout_s, job.deadline_at, call.tags, call.signature, job.feed_end, call.traceparent, job.seq
FROM headrace_job AS job CROSS JOIN headrace_call AS call ON call.n = job.n
WHERE job.id = ?1 AND job.state = 1
