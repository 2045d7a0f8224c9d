-- Forget ids of events that were published once, long ago, at most so many.
WITH old AS MATERIALIZED (
    SELECT source, digest FROM headrace_seen WHERE source = 0 AND at <= $1 ORDER BY at LIMIT $2
)
DELETE FROM headrace_seen AS seen USING old WHERE seen.source = old.source AND seen.digest = old.digest RETURNING 1
