-- The number of an ended job, and the attempt that succeeded (fence NULL: none did).
SELECT history.n, history.attempt, iif(history.state = 3, history.fence, NULL), worker.id, history.started_at,
    history.finished_at
FROM headrace_history AS history LEFT JOIN headrace_worker AS worker ON worker.n = history.worker WHERE history.id = ?1
