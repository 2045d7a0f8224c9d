-- The last fence that a settle ended, of each of these jobs.
SELECT id::text, settled_fence FROM headrace_job AS job WHERE id = ANY ($1::uuid[])
UNION ALL
SELECT id::text, settled_fence FROM headrace_history AS history WHERE id = ANY ($1::uuid[]) AND finished_at > headrace_pruned_to()
