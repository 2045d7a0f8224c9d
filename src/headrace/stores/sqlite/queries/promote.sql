-- A due job becomes ready, at the end of the line.
UPDATE headrace_job AS job SET state = 1, seq = ?2, run_at = NULL, feed_end = feed_end + 1 WHERE n = ?1 AND state = 0
