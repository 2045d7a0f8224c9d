-- Delete what was kept of a job that is past its retention.
DELETE FROM headrace_call AS call WHERE n = ?1
