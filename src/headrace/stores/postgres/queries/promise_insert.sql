-- Promise outcomes of jobs.
INSERT INTO headrace_promise (job, name, at)
SELECT promise.job, promise.name, coalesce($3::timestamptz, statement_timestamp()) FROM unnest($1::uuid[], $2::text[]) AS promise (job, name)
ON CONFLICT (job, name) DO NOTHING
