-- Ask a running job to stop.
UPDATE headrace_job AS job SET cancelling = 1 WHERE n = ?1 AND state = 2
