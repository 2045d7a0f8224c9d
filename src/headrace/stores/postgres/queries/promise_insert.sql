-- Promise outcomes of jobs.
INSERT INTO headrace_promise (job, name) SELECT job, name FROM unnest($1::uuid[], $2::text[]) AS promise (job, name)
ON CONFLICT (job, name) DO NOTHING
