-- Promises beyond one, in order, so many of them; and whether their jobs have ended.
SELECT job, name, NOT EXISTS (SELECT FROM headrace_job AS live WHERE live.id = ANY (ARRAY[promise.job])) FROM (
    SELECT job, name FROM headrace_promise WHERE (job, name) > ($1::uuid, $2::text) ORDER BY job, name LIMIT $3
) AS promise
ORDER BY job, name
