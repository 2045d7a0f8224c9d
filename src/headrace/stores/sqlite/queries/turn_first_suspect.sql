-- The first suspect of one kind in a lane, by priority, then place in line.
SELECT priority, seq, id FROM headrace_job AS job WHERE state = 1 AND suspect > 0 AND suspect = ?2 AND lane = ?1
ORDER BY priority DESC, seq LIMIT 1
