-- The first ready job of a lane, by priority, then place in line.
SELECT priority, seq, id FROM headrace_job AS job WHERE state = 1 AND suspect = 0 AND lane = ?1
ORDER BY priority DESC, seq LIMIT 1
