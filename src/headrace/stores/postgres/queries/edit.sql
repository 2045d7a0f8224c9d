-- Give a failed job other arguments.
UPDATE headrace_history AS history SET args = $2 WHERE id = $1 AND state = 4 AND finished_at > headrace_pruned_to() RETURNING state
