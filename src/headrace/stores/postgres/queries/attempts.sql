-- The attempts of a job in order: those that ended otherwise than in success, then the one that runs or succeeded.
SELECT attempt.attempt, attempt.fence, worker.id, attempt.started_at, attempt.ended_at, attempt.outcome, attempt.failure
FROM (
    SELECT attempt, fence, worker, started_at, ended_at, outcome, failure FROM headrace_attempt WHERE job = $1 AND EXISTS (
        SELECT FROM headrace_job WHERE id = $1
        UNION ALL SELECT FROM headrace_history WHERE id = $1 AND finished_at > headrace_pruned_to()
    )
    UNION ALL
    SELECT attempt, fence, worker, started_at, NULL, 'running', NULL FROM headrace_job WHERE id = $1 AND state + 0 = 2
    UNION ALL
    SELECT attempt, fence, worker, started_at, finished_at, 'succeeded', NULL FROM headrace_history
    WHERE id = $1 AND state = 3 AND finished_at > headrace_pruned_to()
) AS attempt LEFT JOIN headrace_worker AS worker ON worker.n = attempt.worker
ORDER BY attempt.fence
