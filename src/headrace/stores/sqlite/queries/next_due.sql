-- When the next scheduled job is due.
SELECT min(run_at) FROM headrace_job AS job WHERE state = 0
