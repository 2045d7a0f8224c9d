-- The jobs that ended first.
SELECT seq, n, id, finished_at, lane FROM headrace_history AS history ORDER BY seq LIMIT ?1
