-- Delete what was kept of a job that is past its retention.
DELETE FROM headrace_attempt AS attempt WHERE n = ?1
