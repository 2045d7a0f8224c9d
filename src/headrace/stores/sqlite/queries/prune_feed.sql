-- Delete what was kept of a job that is past its retention.
DELETE FROM headrace_feed AS feed WHERE n = ?1
