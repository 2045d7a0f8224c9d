-- Delete what was kept of a job that is past its retention.
DELETE FROM headrace_progress AS progress WHERE n = ?1
