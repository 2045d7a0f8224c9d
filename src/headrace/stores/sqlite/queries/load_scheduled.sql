-- How many jobs of a lane are scheduled; at most ?2.
SELECT count(*) FROM (SELECT 1 FROM headrace_job AS job WHERE state = 0 AND lane = ?1 LIMIT ?2)
