-- An ended job as readers see it.
SELECT j.id, lane.task, queue.name, j.state, call.args, j.priority, call.key, call.tags, j.attempt, j.failures, j.crashes,
    j.snoozes, call.max_attempts, j.fence, j.feed_end, call.timeout_s, call.created_at, NULL, j.started_at, j.finished_at,
    j.deadline_at, NULL, j.suspect, 0, j.result, j.failure, NULL,
    j.n, call.first_due_at, j.first_claimed_at, j.first_claim_offset
FROM headrace_history AS j CROSS JOIN headrace_call AS call ON call.n = j.n CROSS JOIN headrace_lane AS lane ON lane.id = j.lane CROSS JOIN headrace_queue AS queue ON queue.id = lane.queue
WHERE j.id = ?1
