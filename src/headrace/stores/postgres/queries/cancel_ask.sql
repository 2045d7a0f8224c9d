-- Ask running jobs to stop.
UPDATE headrace_job AS job SET cancelling = true WHERE id = ANY ($1::uuid[]) AND state + 0 = 2
