-- Delete promises of jobs that are gone, among so many that are as old.
WITH old AS MATERIALIZED (
    SELECT job, name FROM (SELECT job, name FROM headrace_promise WHERE at <= $1 ORDER BY at LIMIT $2) AS promise
    WHERE NOT EXISTS (SELECT FROM headrace_job AS live WHERE live.id = ANY (ARRAY[promise.job]))
        AND NOT EXISTS (SELECT FROM headrace_history AS h WHERE h.id = promise.job AND h.finished_at > $1)
    LIMIT $3
)
DELETE FROM headrace_promise AS promise USING old WHERE promise.job = ANY (ARRAY[old.job]) AND promise.name = ANY (ARRAY[old.name]) RETURNING 1
