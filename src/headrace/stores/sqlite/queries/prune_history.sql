-- Delete a job that is past its retention.
DELETE FROM headrace_history AS history WHERE seq = ?1
