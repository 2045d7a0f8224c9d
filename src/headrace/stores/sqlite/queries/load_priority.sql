-- The next lower priority of which a lane has ready jobs.
SELECT priority FROM headrace_job AS job WHERE state = 1 AND suspect = 0 AND lane = ?1 AND priority < ?2
ORDER BY priority DESC LIMIT 1
