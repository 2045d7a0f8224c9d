-- What a claim needs to know: the worker's number if it is known and may claim, the next due instant, the held queues.
SELECT (
        SELECT n FROM headrace_worker AS worker WHERE id = ?1 AND gone_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM headrace_meta AS meta WHERE key = 'held_until' AND CAST(value AS INTEGER) > ?2)
    ),
    (SELECT min(run_at) FROM headrace_job AS job WHERE state = 0),
    (SELECT group_concat(name, char(31)) FROM headrace_queue AS queue WHERE paused = 1)
