-- Add a live job; guard: its id is neither live nor in the history.
INSERT INTO headrace_job (n, id, lane, state, priority, seq, run_at, deadline_at,
    suspect, cancelling, fence, settled_fence, attempt, failures, crashes, snoozes, feed_end, items)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0
WHERE NOT EXISTS (SELECT 1 FROM headrace_history AS history WHERE id = ?2)
ON CONFLICT (id) DO NOTHING
