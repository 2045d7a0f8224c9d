-- The attempts of a job that ended otherwise than in success, in order.
SELECT attempt.attempt, attempt.fence, worker.id, attempt.started_at, attempt.ended_at, attempt.outcome, attempt.failure
FROM headrace_attempt AS attempt LEFT JOIN headrace_worker AS worker ON worker.n = attempt.worker
WHERE attempt.n = ?1 ORDER BY attempt.fence
