-- Delete jobs past their retention that have more than their row, with all of it.
WITH old AS MATERIALIZED (
    SELECT id, finished_at, line, key FROM headrace_history AS history
    WHERE NOT (state = 3 AND feed_end = 3 AND key IS NULL) AND finished_at <= $1
    ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
), feeds AS (
    DELETE FROM headrace_feed AS feed USING old WHERE feed.job = old.id
), attempts AS (
    DELETE FROM headrace_attempt AS attempt USING old WHERE attempt.job = old.id
), letters AS (
    DELETE FROM headrace_letter AS letter USING old WHERE letter.job = old.id
), promises AS (
    DELETE FROM headrace_promise AS promise USING old WHERE promise.job = old.id
), keys AS (
    DELETE FROM headrace_job_key AS job_key USING old JOIN headrace_line AS line ON line.id = old.line
    WHERE job_key.task = line.task AND job_key.key = old.key AND job_key.job = old.id
)
DELETE FROM headrace_history AS history USING old WHERE history.id = old.id AND history.finished_at = old.finished_at RETURNING 1
