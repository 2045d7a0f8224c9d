-- Promises beyond one, in order, and whether their jobs have ended.
SELECT job, name, EXISTS (SELECT 1 FROM headrace_history AS history WHERE history.id = promise.job)
FROM headrace_promise AS promise WHERE (job, name) > (?1, ?2) ORDER BY job, name LIMIT ?3
