-- Be free of promises; told are those that were there.
DELETE FROM headrace_promise AS promise USING unnest($1::uuid[], $2::text[]) AS kept (job, name)
WHERE promise.job = kept.job AND promise.name = kept.name RETURNING promise.job, promise.name
