-- Delete what was kept of a job that is past its retention.
DELETE FROM headrace_promise AS promise WHERE job = ?1
