-- The first suspects of one kind in a lane, by priority, then place in line.
SELECT job.n, job.id, job.fence, call.args, job.attempt, job.failures, job.crashes, job.snoozes, call.max_attempts,
    call.timeout_s, job.deadline_at, call.tags, call.signature, job.feed_end, call.traceparent, job.seq
FROM headrace_job AS job CROSS JOIN headrace_call AS call ON call.n = job.n
WHERE job.state = 1 AND job.suspect > 0 AND job.suspect = ?3 AND job.lane = ?1
ORDER BY job.priority DESC, job.seq LIMIT ?2
