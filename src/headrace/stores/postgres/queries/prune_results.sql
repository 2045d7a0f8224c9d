-- Drop results that are past their retention.
UPDATE headrace_history AS history SET result = NULL WHERE (id, finished_at) IN (
    SELECT id, finished_at FROM headrace_history WHERE finished_at > $1 AND finished_at <= $2 AND result IS NOT NULL LIMIT $3
) RETURNING 1
