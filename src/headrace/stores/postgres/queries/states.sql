-- The states of jobs, live or ended.
SELECT id, state FROM headrace_job AS job WHERE id = ANY ($1::uuid[])
UNION ALL
SELECT id, state FROM headrace_history AS history WHERE id = ANY ($1::uuid[]) AND finished_at > headrace_pruned_to()
