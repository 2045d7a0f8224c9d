-- Forget digests that are old, at most so many.
WITH old AS MATERIALIZED (
    SELECT source, digest FROM headrace_seen
    WHERE source = (SELECT id FROM headrace_source WHERE name = $2) AND at >= $5 AND at < coalesce($1::timestamptz, clock_timestamp()) - $3 * interval '1 second'
    ORDER BY at LIMIT $4
)
DELETE FROM headrace_seen AS seen USING old WHERE seen.source = old.source AND seen.digest = old.digest RETURNING seen.at
