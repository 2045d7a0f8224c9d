-- Rows that count as deleted, of days that have no table of their own to be dropped.
DELETE FROM headrace_history_other AS history WHERE (id, finished_at) IN (
    SELECT id, finished_at FROM headrace_history_other WHERE finished_at <= headrace_pruned_to() LIMIT $1
)
