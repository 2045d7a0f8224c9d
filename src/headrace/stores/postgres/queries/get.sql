-- Jobs as readers see them, live or ended, in one snapshot.
SELECT j.id, line.task, queue.name, j.state, j.args, line.priority, j.key, j.tags, j.attempt, j.failures, j.crashes, j.snoozes,
    j.max_attempts, j.fence, j.feed_end, j.timeout_s, j.created_at, CASE WHEN j.state = 0 THEN j.due_at END, j.started_at,
    NULL::timestamptz AS finished_at, j.deadline_at, worker.id, j.suspect, j.cancelling, NULL::text AS result, j.failure,
    j.progress, j.first_due_at, j.first_claimed_at, j.first_claim_offset, statement_timestamp()
FROM headrace_job AS j JOIN headrace_line AS line ON line.id = j.line JOIN headrace_queue AS queue ON queue.id = line.queue
    LEFT JOIN headrace_worker AS worker ON worker.n = j.worker AND j.state = 2
WHERE j.id = ANY ($1::uuid[])
UNION ALL
SELECT j.id, line.task, queue.name, j.state, j.args, line.priority, j.key, j.tags, j.attempt, j.failures, j.crashes, j.snoozes,
    j.max_attempts, j.fence, j.feed_end, j.timeout_s, j.created_at, NULL, j.started_at, j.finished_at, j.deadline_at, NULL,
    j.suspect, false, j.result, j.failure, NULL, j.first_due_at, j.first_claimed_at, j.first_claim_offset, statement_timestamp()
FROM headrace_history AS j JOIN headrace_line AS line ON line.id = j.line JOIN headrace_queue AS queue ON queue.id = line.queue
WHERE j.id = ANY ($1::uuid[]) AND j.finished_at > headrace_pruned_to()
