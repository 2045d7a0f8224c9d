-- A failed or cancelled job, held until the end of the transaction.
SELECT id FROM headrace_history AS history WHERE id = $1 AND state > 3 AND finished_at > headrace_pruned_to() FOR UPDATE
