-- Be free of promises; told are those that were there.
DELETE FROM headrace_promise AS promise USING unnest($1::uuid[], $2::text[]) AS kept (job, name)
WHERE promise.job = ANY (ARRAY[kept.job]) AND promise.name = ANY (ARRAY[kept.name]) RETURNING promise.job, promise.name
