-- A page of running jobs, newest first: the few there are, sorted (`+id` keeps off the walk of all ids).
SELECT j.id, lane.task, queue.name, j.state, call.args, j.priority, call.key, call.tags, j.attempt, j.failures, j.crashes,
    j.snoozes, call.max_attempts, j.fence, j.feed_end, call.timeout_s, call.created_at, j.run_at, j.started_at, NULL,
    j.deadline_at, worker.id, j.suspect, j.cancelling, NULL, j.failure, progress.data,
    j.n, call.first_due_at, j.first_claimed_at, j.first_claim_offset
FROM (SELECT * FROM headrace_job AS job WHERE state = 2 AND worker IS NOT NULL AND +id < ?1 AND ?8 > 0) AS j
    CROSS JOIN headrace_call AS call ON call.n = j.n CROSS JOIN headrace_lane AS lane ON lane.id = j.lane CROSS JOIN headrace_queue AS queue ON queue.id = lane.queue
    LEFT JOIN headrace_worker AS worker ON worker.n = j.worker
    LEFT JOIN headrace_progress AS progress ON progress.n = j.n AND progress.fence = j.fence AND j.state = 2
WHERE (?2 IS NULL OR lane.task = ?2) AND (?3 IS NULL OR queue.name = ?3) AND (?4 IS NULL OR j.state = ?4)
    AND (?5 IS NULL OR EXISTS (SELECT 1 FROM json_each(call.tags) WHERE json_each.value = ?5))
    AND (?6 IS NULL OR call.created_at >= ?6) AND (?7 IS NULL OR call.created_at < ?7)
ORDER BY +j.id DESC LIMIT ?9
