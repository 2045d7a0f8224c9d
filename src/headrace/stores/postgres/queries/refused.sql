-- Note that events were refused, and park some.
UPDATE headrace_outbox AS outbox SET failures = failures + 1, failure = told.why, parked = parked OR told.parks
FROM unnest($2::bigint[], $3::text[], $4::boolean[]) AS told (n, why, parks)
WHERE outbox.sink = (SELECT id FROM headrace_sink WHERE name = $1) AND outbox.parked = ANY ('{f,t}') AND outbox.n = ANY (ARRAY[told.n])
