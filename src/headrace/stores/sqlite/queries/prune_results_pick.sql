-- The results that were first, after the last one dropped.
SELECT seq, finished_at FROM headrace_history AS history WHERE seq > ?1 AND result IS NOT NULL ORDER BY seq LIMIT ?2
