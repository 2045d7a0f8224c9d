-- Delete what was kept of a job that is past its retention.
DELETE FROM headrace_letter AS letter WHERE job = ?1
