-- Jobs that are due, the longest due first.
SELECT n, id, lane, attempt, feed_end FROM headrace_job AS job WHERE state = 0 AND run_at <= ?1 ORDER BY run_at, seq LIMIT ?2
